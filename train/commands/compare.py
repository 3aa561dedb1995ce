"""`python -m train compare RUN RUN ...`: runs side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from train.commands.trouble import trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareCommand:
    """Compare runs: accuracy, loss, time, parameters, diagnosis; a table, and a chart of their curves.

    Exit 0: compared; 2: trouble, in one sentence.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN ...")]
    """Run directories, two at least."""

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("comparison.png")
    """The chart to write."""

    json: bool = False
    """Print JSON instead of the table, for machines."""


def compare(command: CompareCommand) -> int:
    """Compare; return the exit code."""
    return trouble(f"{command.runs[0]} cannot be compared yet")
