"""`python -m train show KIND SUBJECT`: everything people look at, as a picture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from train.commands.trouble import trouble
from train.data_root import default_data_root

Kind = Literal[
    "samples", "augmented", "layers", "curves", "boundary", "fit", "predictions", "errors", "confusion", "probabilities"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCommand:
    """Draw what people look at: of a recipe (samples, augmented, layers), or of a run (all of them).

    Exit 0: drawn; 2: trouble, in one sentence.
    """

    kind: Annotated[Kind, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")]
    """What to draw."""

    subject: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE|RUN")]
    """A name from `python -m train list`, or a run directory."""

    image: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Of `probabilities`: an image of your own, instead of a test sample."""

    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie or are downloaded to; $DATA_ROOT where that is set."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The PNG to write; KIND-SUBJECT.png unless given."""

    seed: int = 42
    """Decides which samples are drawn."""


def show(command: ShowCommand) -> int:
    """Draw; return the exit code."""
    return trouble(f"{command.kind} of {command.subject} cannot be drawn yet")
