"""The error along a graph as a picture."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from evaluate.blame.found import Blame
from serve.parity import RMSE_FACTOR
from train.pictures.layout import RIGHT, SMALL, TRAIN, WRONG, house_style, new_figure, shorten, thin, wrap

_WIDTH, _HEIGHT = 10.0, 4.8
_LEAST = 1e-9  # what errors of nothing are drawn as
_NAMED = 24
_LONGEST_NAME = 44


@house_style()
def draw_blame(blame: Blame) -> Figure:
    """Draw the error of every value, eager's beside it, and mark the culprit."""
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    axes.set_title(wrap(_title(blame), inches=_WIDTH), loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    if not blame.nodes:
        axes.set_axis_off()
        return figure
    _draw_errors(axes, blame)
    if blame.culprit is not None and blame.place is not None:
        _mark_culprit(axes, blame, blame.place)
    shown = thin(len(blame.nodes), _NAMED)
    axes.set_xticks(shown, [blame.nodes[place].operator for place in shown], rotation=45, ha="right", fontsize=SMALL)
    axes.set_ylabel("error / size of the value (rms)")
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_errors(axes: Axes, blame: Blame) -> None:
    places = range(len(blame.nodes))
    eager = [max(node.eager_error, _LEAST) for node in blame.nodes]
    allowed = [RMSE_FACTOR * error for error in eager]
    graph = [math.nan if node.error is None else max(node.error, _LEAST) for node in blame.nodes]
    size = 4 if len(blame.nodes) <= 60 else 2
    known = [error for error in graph if not math.isnan(error)] + eager
    bottom = min(known) / 2
    if blame.precision == "float32":
        axes.fill_between(places, bottom, allowed, color=RIGHT, alpha=0.12, lw=0, label="allowed")
    axes.plot(
        places, eager, color=RIGHT, marker="s", markersize=size, lw=1.2, label="PyTorch in float32, at least 1 ulp"
    )
    axes.plot(places, graph, color=TRAIN, marker="o", markersize=size, lw=1.2, label=blame.graph)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: "exact" if error < 2 * _LEAST else f"{error:.0e}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(-0.5, len(blame.nodes) - 0.5)
    axes.set_ylim(bottom, max(*known, *allowed) * (6 if blame.culprit is None else 60))  # its name stands above


def _mark_culprit(axes: Axes, blame: Blame, place: int) -> None:
    culprit = blame.culprit
    if culprit is None:
        return
    axes.axvline(place, color=WRONG, lw=1, ls="--")
    right = place > len(blame.nodes) / 2
    lines = (f"{culprit.operator} {culprit.node}", culprit.path)
    axes.annotate(
        "\n".join(shorten(line, _LONGEST_NAME) for line in lines),
        (place, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if right else 6, -5),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        color=WRONG,
        fontweight="bold",
    )


def _title(blame: Blame) -> str:
    found = "nothing diverges" if blame.passed else "the outputs diverge"
    if blame.precision != "float32":
        found = f"it computes in {blame.precision}"
    values = f"{len(blame.nodes)} values against float64" if blame.nodes else "no value is one of PyTorch's"
    return f"error along {blame.graph} of {blame.name}: {found}; {values}"
