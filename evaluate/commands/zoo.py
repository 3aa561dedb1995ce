"""``python -m evaluate zoo``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from evaluate.zoo.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Zoo:
    """Export and certify torchvision's classification architectures, with weights from a seed, and write docs/zoo.md.

    Stopped at any time, it goes on where it was: every architecture has a result of its own. All of them take hours
    on two cores and up to 24 GB of memory; a few take minutes.

    Exit code 0: every architecture that was asked for passes. 1: one does not. 2: trouble.
    """

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[ARCHITECTURE ...]", help_behavior_hint="")
    ] = ()
    """torchvision's names, such as resnet50 vit_b_16; all of them unless given."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("zoo")
    """Where a result per architecture stands; bundles are removed once they are judged."""
    page: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Markdown page of all results. Default: docs/zoo.md where all are asked for, else zoo.md in --out."""
    side: Annotated[int | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Pixels of the pictures' sides. Default: 224 where an architecture is made for that, else 128."""
    seed: int = 0
    """Decides weights and pictures."""
    full: bool = False
    """Full certificates: also on the decision boundary, and ONNX as it was written."""
    again: bool = False
    """Examine again what is there already."""


def run_zoo(command: Zoo) -> int:
    """Examine architectures and print a line of each."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from evaluate.tables import stderr_console
    from evaluate.zoo.result import current_settings
    from evaluate.zoo.run import examine_all

    page = command.page or (command.out / "zoo.md" if command.names else Path("docs") / "zoo.md")
    asked: list[bool] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        bar = progress.add_task("", total=None)

        def started(name: str, index: int, of: int) -> None:
            progress.update(bar, description=name, completed=index, total=of)

        def came(result: "Result", kept: bool) -> None:
            asked.append(result.passed)
            progress.console.print(_line(result, kept=kept), soft_wrap=True, markup=False, highlight=False)

        examine_all(
            command.names,
            command.out,
            settings=current_settings(side=command.side, full=command.full, seed=command.seed),
            page=page,
            again=command.again,
            on_start=started,
            on_result=came,
        )
    print(f"{sum(asked)} of {len(asked)} architectures pass; {page}")
    return 0 if all(asked) else 1


def _line(result: "Result", *, kept: bool) -> str:
    verdicts = ", ".join(f"{graph.graph} {graph.verdict}" for graph in result.graphs) or f"failed: {result.failure}"
    times = "kept" if kept else f"export {result.export_s:.0f} s, certificate {result.certify_s:.0f} s"
    return f"{result.name:<20} {verdicts}; {times}"
