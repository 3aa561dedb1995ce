"""`python -m train reproduce [ID ...]`: the figures of the source notes beside ours."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from train.commands.trouble import trouble
from train.data_root import default_data_root


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproduceCommand:
    """Train, export, certify, serve and batch-predict recipes, and write the notes' printed figures beside ours.

    What was done before is kept, as long as the recipe and the source are the same. Exit 0: every recipe went all the
    way and every figure is within what is stated for it; 1: one is not; 2: trouble, in one sentence.
    """

    ids: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ID ...")] = ()
    """Names from `python -m train list`; unless given all but fashion-softmax-1000, which takes long."""

    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie or are downloaded to; $DATA_ROOT where that is set."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("reproduction")
    """Where runs, bundles, tables and results go."""

    report: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("docs/reproduction.md")
    """The page to write."""

    fresh: bool = False
    """Do everything anew."""


def reproduce(command: ReproduceCommand) -> int:
    """Reproduce; return the exit code."""
    return trouble(f"{command.out} cannot be written yet")
