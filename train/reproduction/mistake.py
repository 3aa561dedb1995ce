"""A mistake of the notes, and how what is right is written with our own numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from train.reproduction.judge import NOT_MEASURED

_PLACE = re.compile(r"\{(\w+(?:@\d+)?):([^}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake.

    Attributes:
        source: Where it stands in the notes.
        said: What they say.
        right: What is right; ``{quantity:format}`` stands for one of our numbers.
    """

    source: str
    said: str
    right: str

    def quantities(self) -> tuple[str, ...]:
        """Return which of our numbers it asks for."""
        return tuple(name for name, _ in _PLACE.findall(self.right))

    def write(self, values: Mapping[str, float]) -> str:
        """Return what is right, with our numbers in it."""

        def number(match: re.Match[str]) -> str:
            value = values.get(match.group(1))
            return NOT_MEASURED if value is None else format(value, match.group(2))

        return _PLACE.sub(number, self.right)
