"""The charts of a report, sized so that their words can be read where they stand."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from evaluate.accuracy.charts import draw_predictions, draw_reliability
from evaluate.accuracy.record import GraphAccuracy
from evaluate.blame.chart import draw_blame
from evaluate.blame.found import Blame
from evaluate.report.findings import Findings, Sampled
from evaluate.report.svg import inline_svg
from evaluate.report.words import number
from train.pictures.confusion import draw_confusion
from train.pictures.layout import TRAIN, house_style, new_figure, shorten

_NARROW = 4.6  # inches: two of them side by side on a desk, and one on a phone without becoming unreadable
_WIDE = 9.6
_LONGEST = 22
_MOST_TARGETS = 4
_FEW, _BINS = 100, 15


def reliability_chart(found: Findings, graph: GraphAccuracy, *, name: str) -> Markup:
    """Return how often the graph is right over how sure it is."""
    figure = draw_reliability(found.manifest.name, graph)
    figure.set_size_inches(_NARROW, 4.4)
    legend = figure.axes[0].get_legend()
    if legend is not None:
        legend.remove()  # it would lie on the curve; the words below say the same
    probabilities = graph.probabilities
    error = 0.0 if probabilities is None else probabilities.expected_calibration_error.value or 0.0
    text = (
        f"Share of right answers over the probability that {graph.graph} gives them, and how many samples there are at "
        f"each; on the dashed line the two are equal. The mean distance from it is {100 * error:.2f} per cent."
    )
    return inline_svg(figure, text, name=name)


def blame_chart(blame: Blame, *, name: str) -> Markup:
    """Return the error along the graph."""
    figure = draw_blame(blame)
    figure.set_size_inches(_WIDE, 4.2)
    worst = max((node.times_eager or 0.0 for node in blame.nodes), default=0.0)
    text = (
        f"Error of {len(blame.nodes)} values along {blame.graph}, from input to output, beside PyTorch's own; the "
        f"furthest has {worst:.3g} times PyTorch's."
    )
    return inline_svg(figure, text, name=name)


def predictions_chart(found: Findings, sampled: Sampled, *, name: str) -> Markup:
    """Return predictions over true values."""
    labels = found.manifest.labels
    truth, predicted = _values(sampled)
    figure = draw_predictions(truth, predicted, labels, title="")
    panels = min(len(labels), _MOST_TARGETS)
    figure.set_size_inches(_NARROW, 4.2 if panels == 1 else 2.2 * -(-panels // 2))
    for axes in figure.axes[:panels]:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        for places in (axes.xaxis, axes.yaxis):
            places.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        for dots in axes.collections if len(truth) < _FEW else ():
            dots.set(sizes=[30], alpha=0.8)
    text = f"Predicted over true {', '.join(labels[:_MOST_TARGETS])}, one dot a sample."
    return inline_svg(figure, text, name=name)


def residuals_chart(found: Findings, sampled: Sampled, *, name: str) -> Markup:
    """Return how many samples are how far off."""
    truth, predicted = _values(sampled)
    labels = found.manifest.labels[:_MOST_TARGETS]
    figure = _draw_residuals(predicted - truth, labels)
    return inline_svg(figure, f"How many samples are how far off: {', '.join(labels)}.", name=name)


def _values(sampled: Sampled) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if sampled.predicted is None:
        raise ValueError("a classification has classes, and no values to draw")
    finite = np.isfinite(sampled.predicted).all(axis=1)
    return sampled.truth.astype(np.float64)[finite], sampled.predicted[finite]


@house_style()
def _draw_residuals(errors: NDArray[np.float64], labels: Sequence[str]) -> Figure:
    figure = new_figure(_NARROW, 4.2 if len(labels) == 1 else 2.2 * -(-len(labels) // 2))
    panels = list(figure.subplots(-(-len(labels) // 2), min(len(labels), 2), squeeze=False).flat)
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    for target, axes in enumerate(panels[: len(labels)]):
        axes.axvline(0, color="#777777", ls="--", lw=1)
        axes.hist(errors[:, target], bins=_BINS, color="#7f95bf", edgecolor="white", linewidth=0.6)
        axes.set_xlabel(f"{shorten(labels[target], _LONGEST)}, predicted - true")
        axes.set_ylabel("samples")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="y", color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def confusion_chart(graph: GraphAccuracy, labels: Sequence[str], *, name: str) -> Markup:
    """Return the confusions of many classes as shades."""
    figure = draw_confusion(np.asarray(graph.confusion), labels, title="")
    text = f"How often each of {len(labels)} true classes, from top to bottom, is taken for each, from left to right."
    return inline_svg(figure, text, name=name)


def accuracy_chart(names: Sequence[str], graphs: Sequence[GraphAccuracy | None], *, name: str) -> Markup:
    """Return the accuracy of several bundles with its interval."""
    figure = _draw_accuracy(names, graphs)
    said = [
        f"{bundle} {100 * graph.top1_accuracy:.2f} per cent, from {100 * graph.interval_95[0]:.2f} to "
        f"{100 * graph.interval_95[1]:.2f}"
        for bundle, graph in zip(names, graphs, strict=True)
        if graph is not None
    ]
    return inline_svg(figure, f"Accuracy with its 95 per cent interval: {'; '.join(said)}.", name=name)


@house_style()
def _draw_accuracy(names: Sequence[str], graphs: Sequence[GraphAccuracy | None]) -> Figure:
    figure = new_figure(5.2, 0.9 + 0.38 * len(names))
    axes = figure.subplots()
    for place, graph in enumerate(graphs):
        if graph is None:
            axes.text(0.5, place, "not measured", color="#777777", va="center", transform=axes.get_yaxis_transform())
            continue
        low, high = graph.interval_95
        value = 100 * graph.top1_accuracy
        reach = [[value - 100 * low], [100 * high - value]]
        axes.errorbar(
            [value], [place], xerr=reach, color=TRAIN, ecolor="#7f95bf", marker="o", markersize=5, capsize=3, lw=2
        )
    axes.set_yticks(range(len(names)), [shorten(one, _LONGEST) for one in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("accuracy, %, with its 95 % interval")
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure
