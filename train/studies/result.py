"""What a study gives: the notes' claim, what was measured, and whether the claim holds."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from train.whole_file import write_whole

Verdict = Literal["holds", "holds in part", "does not hold"]
Cell = str | int | float
PLOT = "plot.png"
MOST_MARKERS = 10  # with more points than this they run into each other, and into the numbers below


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of the plot; of two, of training and test rows, the first is dashed and in the colour of the next."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dashed: bool = False

    def __post_init__(self) -> None:
        if not self.x or len(self.x) != len(self.y):
            raise ValueError(
                f"curve {self.label!r} has {len(self.x)} x and {len(self.y)} y, but as many of each, and at least one, "
                "were expected"
            )


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of the notes, or one aim, beside ours.

    Attributes:
        what: What the figure is of.
        notes: What the notes print, or what is aimed at.
        here: What was measured.
        holds: Whether the two agree in the sense of the claim; None where the notes say nothing, or nothing could be
            measured here.
    """

    what: str
    notes: str
    here: str
    holds: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """One study, carried out.

    Attributes:
        title: What is compared with what.
        claim: What the source notes say.
        columns: Headings of the table.
        rows: What was measured.
        finding: What the rows show, in a sentence or two, with their numbers.
        verdict: Whether the claim holds here; always computed from the rows.
        curves: What is plotted.
        axes: Labels of x and y.
        log_scale: Which axes are logarithmic.
        checks: Single figures of the notes beside ours, where there are several.
        aims: What this project sets itself, beside what was measured; no part of the verdict on the notes.
    """

    title: str
    claim: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    finding: str
    verdict: Verdict
    curves: tuple[Curve, ...]
    axes: tuple[str, str]
    log_scale: tuple[bool, bool] = (False, False)
    checks: tuple[Check, ...] = ()
    aims: tuple[Check, ...] = ()

    @property
    def comparisons(self) -> tuple[tuple[tuple[str, str, str, str], tuple[Check, ...]], ...]:
        """Return headings and checks of the tables of single figures, those that there are."""
        notes = ("claim by claim", "the notes", "here", "agrees")
        aims = ("this project's own aims", "aim", "here", "reached")
        return tuple((head, checks) for head, checks in ((notes, self.checks), (aims, self.aims)) if checks)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {row} has {len(row)} cells, but there are {len(self.columns)} columns")


def as_verdict(*parts: bool) -> Verdict:
    """Return the verdict on a claim of several parts.

    Raises:
        ValueError: there are no parts.
    """
    if not parts:
        raise ValueError("a claim needs at least one part to judge")
    if all(parts):
        return "holds"
    return "holds in part" if any(parts) else "does not hold"


def judge(checks: Sequence[Check]) -> Verdict:
    """Return the verdict that those checks give which could be judged."""
    return as_verdict(*(check.holds for check in checks if check.holds is not None))


def show_cell(cell: Cell) -> str:
    """Return a cell as it is printed."""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def show_holds(holds: bool | None) -> str:
    """Return whether a figure agrees, in a word."""
    return "-" if holds is None else "yes" if holds else "no"


def show_result(result: StudyResult) -> Group:
    """Return the table with claim, finding and verdict, for a rich console."""
    table = Table(title=result.title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(result.columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in result.rows:
        table.add_row(*map(show_cell, row))
    tables = [table]
    for head, checks in result.comparisons:
        single = Table(*head, title_justify="left", box=box.SIMPLE_HEAD)
        for check in checks:
            single.add_row(check.what, check.notes, check.here, show_holds(check.holds))
        tables.append(single)
    lines = (("the notes", result.claim), ("measured", result.finding), ("the claim", result.verdict))
    return Group(*tables, *(Text(f"{label}: {text}") for label, text in lines))


def draw_png(result: StudyResult) -> bytes:
    """Draw the curves, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(result.title, fontsize="medium", wrap=True)
    solid = 0
    for curve in result.curves:
        line = "--" if curve.dashed else "-"
        marker = "o" if len(curve.x) <= MOST_MARKERS else ""
        axes.plot(curve.x, curve.y, line, color=f"C{solid}", label=curve.label, marker=marker, markersize=4)
        solid += not curve.dashed
    if result.log_scale[0]:
        axes.set_xscale("log")
    if result.log_scale[1]:
        axes.set_yscale("log")
    measured = sorted({x for curve in result.curves for x in curve.x})
    if len(measured) <= MOST_MARKERS:
        axes.set_xticks(measured, labels=[f"{x:,g}" for x in measured])
        axes.minorticks_off()
    axes.set_xlabel(result.axes[0])
    axes.set_ylabel(result.axes[1])
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=100)
    return target.getvalue()


def write_plot(result: StudyResult, folder: Path) -> Path:
    """Write the plot into a folder, which is made where it is missing, and return its path."""
    path = folder / PLOT
    write_whole(path, draw_png(result))
    return path
