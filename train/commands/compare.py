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
from train.pictures.picture import Picture, PictureError, check_name

if TYPE_CHECKING:
    from rich.table import Table

    from train.comparison import ComparedRun, Comparison

PIPE_WIDTH = 1000  # wider than any table: a pipe gets whole lines
WIDE = 120  # columns that the whole table takes
NAME_WIDTH = 12
LONGEST_WORD = len("underfitting")
PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareCommand:
    """Compare runs: accuracy, loss, time, parameters, diagnosis; a table, and a chart of their curves.

    The best of each column is marked with a star; seconds have one only where all trained for as many epochs. Choose
    by the validation figures, which are shown where all runs have them: chosen by the test split, a run looks better
    than it is. Runs on different data are compared with a note that says so; regressions are not compared with
    classifications. Figures are those of the epoch whose weights the run holds.

    Exit 0: compared; 2: trouble, in one sentence.
    """

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN ...", help_behavior_hint="(required)")
    ]
    """Run directories, two at least."""

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("comparison.png")
    """The chart to write; it replaces an earlier PNG, and nothing else."""

    json: bool = False
    """Print JSON instead of the table, for machines."""


def compare(command: CompareCommand) -> int:
    """Compare; return the exit code."""
    try:
        from train.comparison import compare_runs
        from train.run import RunError

        try:
            _check_out(command.out)
            comparison = compare_runs(command.runs)
            Picture(png=comparison.png, text="").write(command.out)
        except (RunError, PictureError) as error:
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


def _check_out(path: Path) -> None:
    check_name(path)
    if not path.exists():
        return
    with path.open("rb") as file:
        if file.read(len(PNG_START)) != PNG_START:
            raise PictureError(f"{path} is no PNG, and it is left alone; give another --out")


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
    splits = ["valid." if narrow else "validation", "test"] if _has_validation(comparison) else ["test"]
    kinds = ["accuracy", "loss"] if has_accuracy else ["loss"]
    # where it is narrow, a validation split takes the place of what is least asked for
    dropped = narrow and _has_validation(comparison)
    results = [f"{split}{between}{kind}" for split in splits for kind in kinds]
    for title in ("epochs", *results, *([] if dropped else ["parameters"]), "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    if not dropped:
        table.add_column("device", no_wrap=True)
    table.add_column("diagnosis", min_width=LONGEST_WORD)
    for run in comparison.runs:
        names = [_broken(run)] if narrow else [run.run, run.recipe or "-"]
        parameters, device = ([], []) if dropped else ([_marked(run, comparison, "parameters", "{:,}")], [run.device])
        cells = [
            _epochs(run),
            *_results(run, comparison),
            *parameters,
            _marked(run, comparison, "duration_s", "{:.1f}"),
            *device,
        ]
        table.add_row(*map(escape, names), *cells, run.diagnosis.verdict)
    return table


def _broken(run: "ComparedRun") -> str:
    lines = textwrap.wrap(run.run, NAME_WIDTH)
    if run.recipe != run.run:
        lines += textwrap.wrap(f"({run.recipe or '-'})", NAME_WIDTH)
    return "\n".join(lines)


def _has_validation(comparison: "Comparison") -> bool:
    """Return whether every run has validation figures."""
    return all(run.validation_loss is not None for run in comparison.runs)


def _epochs(run: "ComparedRun") -> str:
    return str(run.epochs) if run.best_epoch in {None, run.epochs} else f"{run.best_epoch} of {run.epochs}"


def _results(run: "ComparedRun", comparison: "Comparison") -> list[str]:
    """Return the marked figures of each split, as many as the table has columns for."""
    cells = []
    for split in ("validation", "test") if _has_validation(comparison) else ("test",):
        if run.test_top1_accuracy is not None:
            cells.append(_marked(run, comparison, f"{split}_top1_accuracy", "{:.2%}"))
        cells.append(_marked(run, comparison, f"{split}_loss", "{:.4g}"))
    return cells


def _marked(run: "ComparedRun", comparison: "Comparison", figure: str, form: str) -> str:
    """Return a figure as text, with a star where it is the best."""
    text = form.format(getattr(run, figure))
    return f"[bold]{text}*[/bold]" if run.run in comparison.best.get(figure, ()) else f"{text} "
