"""`python -m train compare RUN RUN ...`: runs side by side."""

import json
import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.markup import escape

from train.commands.trouble import trouble
from train.extra import explain_missing

if TYPE_CHECKING:
    from rich.table import Table

    from train.comparison import ComparedRun, Comparison

PIPE_WIDTH = 1000  # wider than any table: a pipe gets whole lines
WIDE = 120  # columns that the whole table takes
NAME_WIDTH = 12
LONGEST_WORD = len("underfitting")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareCommand:
    """Compare runs: accuracy, loss, time, parameters, diagnosis; a table, and a chart of their curves.

    The best of each column is marked with a star. Runs on different data are compared with a note that says so;
    regressions are not compared with classifications. Figures are those of the epoch whose weights the run holds.

    Exit 0: compared; 2: trouble, in one sentence.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN ...")]
    """Run directories, two at least."""

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("comparison.png")
    """The chart to write; a PNG, over one that stands there."""

    json: bool = False
    """Print JSON instead of the table, for machines."""


def compare(command: CompareCommand) -> int:
    """Compare; return the exit code."""
    try:
        from train.comparison import compare_runs
        from train.run import RunError
        from train.write import write_file

        try:
            comparison = compare_runs(command.runs)
            write_file(command.out, comparison.png)
        except RunError as error:
            return trouble(error)
    except ModuleNotFoundError as error:
        return trouble(explain_missing(error))
    for note in comparison.notes:
        print(f"note: {note}", file=sys.stderr)
    if command.json:
        print(_as_json(comparison))
    else:
        _print_table(comparison)
    print(f"chart    {command.out}", file=sys.stderr)
    return 0


def _as_json(comparison: "Comparison") -> str:
    content = {
        "runs": [asdict(run) for run in comparison.runs],
        "best": comparison.best,
        "notes": comparison.notes,
    }
    return json.dumps(content, indent=2)


def _print_table(comparison: "Comparison") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(_table(comparison, narrow=console.width < WIDE))
    for run in comparison.runs:
        console.print(f"{run.run}: {run.diagnosis}", markup=False, soft_wrap=not console.is_terminal)


def _table(comparison: "Comparison", *, narrow: bool) -> "Table":
    """Return the table; where it is narrow, names are broken at their hyphens and recipes stand below them."""
    from rich import box
    from rich.table import Table

    has_accuracy = comparison.runs[0].test_top1_accuracy is not None
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0 if narrow else 1, 0, 0), pad_edge=False)
    table.add_column("run\n(recipe)" if narrow else "run", overflow="fold")
    if not narrow:
        table.add_column("recipe")
    between = "\n" if narrow else " "
    titles = ["epochs", *([f"test{between}accuracy"] if has_accuracy else []), f"test{between}loss", "parameters"]
    for title in (*titles, "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("device", no_wrap=True)
    table.add_column("diagnosis", min_width=LONGEST_WORD)
    for run in comparison.runs:
        names = [_broken(run)] if narrow else [run.run, run.recipe or "-"]
        table.add_row(*map(escape, names), *_figures(run, comparison), run.device, run.diagnosis.verdict)
    return table


def _broken(run: "ComparedRun") -> str:
    lines = textwrap.wrap(run.run, NAME_WIDTH)
    if run.recipe != run.run:
        lines += textwrap.wrap(f"({run.recipe or '-'})", NAME_WIDTH)
    return "\n".join(lines)


def _figures(run: "ComparedRun", comparison: "Comparison") -> list[str]:
    def mark(figure: str, text: str) -> str:
        best = run.run in comparison.best.get(figure, ())
        return f"[bold]{text}*[/bold]" if best else f"{text} "

    epochs = str(run.epochs) if run.best_epoch in {None, run.epochs} else f"{run.best_epoch} of {run.epochs}"
    accuracy = run.test_top1_accuracy
    return [
        epochs,
        *([] if accuracy is None else [mark("test_top1_accuracy", f"{accuracy:.2%}")]),
        mark("test_loss", f"{run.test_loss:.4g}"),
        mark("parameters", f"{run.parameters:,}"),
        mark("duration_s", f"{run.duration_s:.1f}"),
    ]
