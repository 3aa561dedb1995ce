"""`python -m train study NAME`: a measured study of the source notes."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from train.commands.trouble import trouble
from train.data_root import default_data_root
from train.extra import explain_missing
from train.threads import limit_spinning


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCommand:
    """Carry out a measured study of the source notes: a table, a plot, their claim, and whether it holds.

    Exit 0: carried out, whatever the verdict; 2: trouble, in one sentence.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """A study, or `list` for what each one asks."""

    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie, for the studies that read one; $DATA_ROOT where that is set."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder for the plot; studies/NAME unless given."""

    quick: bool = False
    """Take fewer rows, seeds and epochs: about a second, to see that it works."""


def carry_out_study(command: StudyCommand) -> int:
    """Measure, print the table, write the plot; return the exit code."""
    from train.studies.registry import STUDIES, StudyError, carry_out, check_name

    if command.name == "list":
        width = max(map(len, STUDIES))
        print("\n".join(f"{name:<{width}}  {question}" for name, question in STUDIES.items()))
        return 0
    limit_spinning()
    try:
        check_name(command.name)
        from rich.console import Console

        from train.dataset import DataError
        from train.studies.result import show_result, write_plot

        try:
            result = carry_out(command.name, quick=command.quick, data_root=command.data_root)
        except DataError as error:
            return trouble(error)
        # a file or a pipe has no width of its own: there the whole table fits
        Console(width=None if sys.stdout.isatty() else 150).print(show_result(result))
        plot = write_plot(result, command.out or Path("studies") / command.name)
    except (StudyError, OSError) as error:
        return trouble(error)
    except ModuleNotFoundError as error:
        return trouble(explain_missing(error))
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(f"plot: {plot}", file=sys.stderr)
    return 0
