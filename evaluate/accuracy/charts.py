"""The figures as pictures: confusions, reliability, robustness, and predictions of a regression over the truth."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluate.accuracy.corruptions import CORRUPTIONS
from evaluate.accuracy.record import Accuracy, GraphAccuracy
from evaluate.accuracy.robustness import CLEAN
from evaluate.accuracy.run import Outcomes
from evaluate.accuracy.spoilt import Robustness, SpoiltAccuracy
from evaluate.accuracy.table import shown_graph
from evaluate.tables import short
from train.pictures.confusion import draw_confusion
from train.pictures.layout import FONT, TRAIN, house_style, new_figure, render, wrap

_LINES = ("#1f4e9c", "#c1121f", "#2b9348", "#8a5a00", "#6a3d9a", "#444444")
_MOST_TARGETS = 4
_MANY = 1000  # samples whose points are drawn small


def draw_all(accuracy: Accuracy, outcomes: Outcomes) -> Iterator[tuple[str, bytes]]:
    """Draw all there is to draw of it; yields names of files and PNGs."""
    if accuracy.graphs:
        shown = shown_graph(accuracy)
        title = f"{accuracy.name}, {shown.graph}: {shown.correct:,} of {shown.rows:,} right"
        yield "confusion.png", _png(draw_confusion(np.asarray(shown.confusion), accuracy.labels, title=title))
        if shown.probabilities is not None:
            yield "reliability.png", _png(draw_reliability(accuracy.name, shown))
    else:
        last = min(1, len(outcomes.all) - 1)
        predicted = outcomes.all[last].outputs["prediction"]
        title = f"{accuracy.name}, {outcomes.all[last].graph}, {len(predicted):,} samples"
        yield (
            "predictions.png",
            _png(draw_predictions(outcomes.labelled.truth, predicted, accuracy.labels, title=title)),
        )
    if accuracy.robustness is not None:
        yield "robustness.png", _png(draw_robustness(accuracy.name, accuracy.robustness))


@house_style()
def draw_reliability(name: str, graph: GraphAccuracy) -> Figure:
    """Draw how often the graph is right over how sure it is, and below how many samples are how sure."""
    found = graph.probabilities
    if found is None:
        raise ValueError("a graph whose outputs are not finite has no probabilities to draw")
    figure = new_figure(6, 6.4)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color="#777777", lw=1, ls="--", label="calibrated")
    places, shares, low, high = [], [], [], []
    for one in found.bins:
        if one.confidence is None or one.accuracy.value is None or one.accuracy.interval_95 is None:
            continue
        places.append(one.confidence)
        shares.append(one.accuracy.value)
        low.append(one.accuracy.value - one.accuracy.interval_95[0])
        high.append(one.accuracy.interval_95[1] - one.accuracy.value)
    axes.errorbar(
        places,
        shares,
        yerr=[low, high],
        color=TRAIN,
        ecolor="#7f95bf",
        marker="o",
        markersize=4,
        lw=1.2,
        capsize=2,
        label="share right, with its 95 % interval",
    )
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(0, 1)
    axes.set_ylabel("share right")
    error = found.expected_calibration_error
    sentence = (
        "" if error.interval_95 is None else " ({:.2f} to {:.2f})".format(*(100 * end for end in error.interval_95))
    )
    axes.set_title(
        f"{name}, {graph.graph}: calibration error {100 * (error.value or 0):.2f} %{sentence};\n"
        f"95 % of calibrated models measure at most {100 * found.if_calibrated_95:.2f} %"
    )
    axes.legend(loc="upper left", frameon=False)
    edges = [one.low for one in found.bins]
    width = 1 / len(edges)
    below.bar(edges, [one.rows for one in found.bins], width=width, align="edge", color="#9aa5b1", edgecolor="white")
    below.set_ylabel("samples")
    below.set_xlabel("probability of the predicted class")
    for panel in (axes, below):
        panel.grid(axis="y", color="#dddddd", lw=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


@house_style()
def draw_robustness(name: str, robustness: Robustness) -> Figure:
    """Draw the accuracy of every graph over the strength, a panel for each way of spoiling."""
    clean = {(row.graph, row.provider): row for row in robustness.settings if row.kind == CLEAN}
    kinds = list(dict.fromkeys(row.kind for row in robustness.settings if row.kind != CLEAN))
    figure = new_figure(10, 6.6)
    panels = list(figure.subplots(-(-len(kinds) // 3), 3, squeeze=False).flat)
    for axes in panels[len(kinds) :]:
        axes.set_axis_off()
    figure.suptitle(wrap(f"{name} on {robustness.source}", inches=10, size=FONT + 1), fontsize=FONT + 1)
    for kind, axes in zip(kinds, panels, strict=False):
        rows = [row for row in robustness.settings if row.kind == kind]
        names = _in_order(kind, list(dict.fromkeys(row.strength for row in rows)))
        for line, key in enumerate(clean):
            found = {row.strength: row for row in rows if (row.graph, row.provider) == key}
            own = [clean[key] if strength is None else found[strength] for strength in names]
            _draw_line(axes, own, line, label=f"{key[0]}, {short(key[1])}")
        axes.set_xticks(range(len(names)), ["clean" if strength is None else f"{strength:g}" for strength in names])
        axes.set_title(f"{kind}, {rows[0].unit}")
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("top-1")
        axes.grid(axis="y", color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _in_order(kind: str, strengths: list[float]) -> list[float | None]:
    """Return strengths with None where clean stands: between those on either side of it, or first."""
    clean = next((corruption.clean for corruption in CORRUPTIONS if corruption.kind == kind), 0.0)
    below = [strength for strength in strengths if strength < clean]
    above = [strength for strength in strengths if strength > clean]
    return [*below, None, *above] if below and above else [None, *strengths]


def _draw_line(axes: Axes, rows: list[SpoiltAccuracy], line: int, *, label: str) -> None:
    colour = _LINES[line % len(_LINES)]
    places = range(len(rows))
    low, high = zip(*(row.interval_95 for row in rows), strict=True)
    axes.fill_between(places, low, high, color=colour, alpha=0.12, lw=0)
    # graphs that agree lie on each other: the later ones are thinner
    width, size = max(3.2 - 1.1 * line, 0.8), max(7.0 - 2 * line, 2.5)
    shares = [row.top1_accuracy for row in rows]
    axes.plot(places, shares, color=colour, marker="o", markersize=size, lw=width, label=label)


@house_style()
def draw_predictions(
    truth: NDArray[np.floating[Any]], predicted: NDArray[np.floating[Any]], names: Sequence[str], *, title: str
) -> Figure:
    """Draw predictions over true values, a panel for each target; on the dashed line they are equal.

    Args:
        truth: ``(rows, targets)``.
        predicted: Same shape.
        names: Of the targets.
        title: Above it all.
    """
    targets = min(len(names), _MOST_TARGETS)
    figure = new_figure(5.2 * min(targets, 2), 5 * -(-targets // 2))
    panels = list(figure.subplots(-(-targets // 2), min(targets, 2), squeeze=False).flat)
    for axes in panels[targets:]:
        axes.set_axis_off()
    for target, axes in enumerate(panels[:targets]):
        true, values = truth[:, target], predicted[:, target]
        ends = [float(min(true.min(), values.min())), float(max(true.max(), values.max()))]
        axes.plot(ends, ends, color="#777777", ls="--", lw=1)
        axes.scatter(true, values, s=12 if len(true) < _MANY else 4, color=TRAIN, alpha=0.5, linewidths=0)
        axes.set_xlabel(f"{names[target]}, true")
        axes.set_ylabel(f"{names[target]}, predicted")
        axes.grid(color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    more = f"; the first {targets} of {len(names)} targets" if targets < len(names) else ""
    figure.suptitle(wrap(title + more, inches=figure.get_figwidth(), size=FONT + 1), fontsize=FONT + 1)
    return figure


def _png(figure: Figure) -> bytes:
    return render(figure, "").png
