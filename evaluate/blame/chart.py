"""The error along a graph as a picture."""

from pathlib import Path

from matplotlib.figure import Figure

from evaluate.blame.blame import Blame
from serve.parity import RMSE_FACTOR
from train.pictures.layout import RIGHT, SMALL, TRAIN, WRONG, house_style, new_figure

_LEAST = 1e-9  # what errors of nothing are drawn as
_NAMED = 24


@house_style()
def draw_blame(blame: Blame) -> Figure:
    """Draw the error of every value, eager's beside it, and mark the culprit.

    Args:
        blame: With at least one node.
    """
    figure = new_figure(10, 4.8)
    axes = figure.subplots()
    places = range(len(blame.nodes))
    eager = [max(node.eager_error, _LEAST) for node in blame.nodes]
    graph = [None if node.error is None else max(node.error, _LEAST) for node in blame.nodes]
    size = 4 if len(blame.nodes) <= 60 else 2
    axes.fill_between(
        places, _LEAST / 3, [RMSE_FACTOR * error for error in eager], color=RIGHT, alpha=0.12, lw=0, label="allowed"
    )
    axes.plot(
        places, eager, color=RIGHT, marker="s", markersize=size, lw=1.2, label="PyTorch in float32, at least 1 ulp"
    )
    axes.plot(
        places,
        [float("nan") if error is None else error for error in graph],
        color=TRAIN,
        marker="o",
        markersize=size,
        lw=1.2,
        label=blame.graph,
    )
    axes.set_yscale("log")
    axes.set_xlim(-0.5, len(blame.nodes) - 0.5)
    known = [error for error in graph if error is not None] + eager
    axes.set_ylim(min(known) / 2, max(*known, *(RMSE_FACTOR * error for error in eager)) * 6)
    if blame.culprit is not None and blame.place is not None:
        axes.axvline(blame.place, color=WRONG, lw=1, ls="--")
        right = blame.place > len(blame.nodes) / 2
        axes.annotate(
            f"{blame.culprit.operator} {blame.culprit.node}\n{blame.culprit.path}",
            (blame.place, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-6 if right else 6, -5),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top",
            color=WRONG,
            fontweight="bold",
        )
    step = max(1, -(-len(blame.nodes) // _NAMED))
    shown = list(places)[::step]
    axes.set_xticks(shown, [blame.nodes[place].operator for place in shown], rotation=45, ha="right", fontsize=SMALL)
    axes.set_ylabel("error / size of the value (rms)")
    axes.set_title(_title(blame), loc="left")
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def write_chart(blame: Blame, path: Path) -> None:
    """Write the picture as a PNG."""
    draw_blame(blame).savefig(path, format="png")


def _title(blame: Blame) -> str:
    found = "nothing diverges" if blame.passed else "the outputs diverge"
    return f"error along {blame.graph} of {blame.name}: {found}; {len(blame.nodes)} values against float64"
