"""What is to be drawn, and which rows of it."""

import random
from dataclasses import dataclass
from pathlib import Path

from train.pictures.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be drawn.

    Attributes:
        subject: Of what.
        seed: Decides which samples are drawn.
        image: The user's own image file, or None.
    """

    subject: Subject
    seed: int
    image: Path | None = None


def pick(rows: int, most: int, seed: int) -> list[int]:
    """Return the places of a few rows, in the order in which they are drawn.

    With seed 42, nine of 10,000 are those that the source notes show. Source: notes 003, S10.
    """
    return random.Random(seed).sample(range(rows), min(most, rows))  # noqa: S311 - samples, no secrets
