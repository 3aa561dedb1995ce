"""What a regression predicts, beside what is true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.pictures.layout import PREDICTED, TEST, TRAIN, house_style, legend_below, new_figure, number
from train.pictures.points import are_same

CURVE_STEPS = 301
LISTED = 10
MOST_TARGETS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A split and what a network makes of it.

    Attributes:
        name: Of the split.
        inputs: ``(rows, features)``.
        targets: ``(rows, targets)``.
        predictions: ``(rows, targets)``.
    """

    name: str
    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    predictions: NDArray[np.float32]

    @property
    def mean_absolute_error(self) -> float:
        """Return the mean distance of prediction and truth, over rows and targets."""
        return float(np.abs(self.predictions - self.targets).mean())


def curve_places(*inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return evenly spaced places ``(steps, 1)`` over all that one feature is."""
    low = min(float(np.nanmin(rows)) for rows in inputs)
    high = max(float(np.nanmax(rows)) for rows in inputs)
    return np.linspace(low, high, CURVE_STEPS, dtype=np.float32)[:, np.newaxis]


@house_style()
def draw_fit(
    train: Predicted,
    test: Predicted,
    curve: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    labels: Sequence[str],
    name: str,
) -> Figure:
    """Draw a regression of one feature: train, test, predictions of the test rows, and the network's curve.

    Args:
        train: The training rows.
        test: The test rows.
        curve: Places ``(steps, 1)`` and predictions there ``(steps, targets)``.
        labels: Of the targets.
        name: Of the feature.
    """
    targets = min(len(labels), MOST_TARGETS)
    figure = new_figure(7.5, 4.8 * targets)
    panels = figure.subplots(targets, 1, squeeze=False)[:, 0]
    for target, axes in enumerate(panels):
        axes.plot(curve[0], curve[1][:, target], color=PREDICTED, linewidth=1, alpha=0.7, label="the network")
        axes.scatter(train.inputs, train.targets[:, target], s=14, color=TRAIN, marker="o", label="train")
        axes.scatter(test.inputs, test.targets[:, target], s=18, color=TEST, marker="s", label="test")
        axes.scatter(
            test.inputs,
            test.predictions[:, target],
            s=16,
            color=PREDICTED,
            linewidths=1,
            marker="x",
            label="predictions",
        )
        axes.set_xlabel(name)
        axes.set_ylabel(labels[target])
        axes.grid(visible=True, alpha=0.3)
    panels[0].set_title(_title(train, test))
    legend_below(figure, panels[0])
    return figure


@house_style()
def draw_predicted_against_true(train: Predicted, test: Predicted, *, labels: Sequence[str]) -> Figure:
    """Draw predictions over truths; on the dashed line they are equal."""
    targets = min(len(labels), MOST_TARGETS)
    figure = new_figure(6, 5.6 * targets)
    panels = figure.subplots(targets, 1, squeeze=False)[:, 0]
    splits = ((train, TRAIN, "o", TRAIN), (test, TEST, "s", "none"))[: 1 if are_same(train, test) else 2]
    for target, axes in enumerate(panels):
        for split, colour, marker, face in splits:
            truths, predictions = split.targets[:, target], split.predictions[:, target]
            axes.scatter(truths, predictions, s=18, facecolors=face, edgecolors=colour, marker=marker, label=split.name)
        values = [array[:, target] for split in (train, test) for array in (split.targets, split.predictions)]
        ends = [min(map(np.min, values)), max(map(np.max, values))]
        axes.plot(ends, ends, color="#555555", linestyle="--", linewidth=1, label="equal")
        axes.set_xlabel(f"{labels[target]}, true")
        axes.set_ylabel(f"{labels[target]}, predicted")
        axes.grid(visible=True, alpha=0.3)
    panels[0].set_title(_title(train, test))
    legend_below(figure, panels[0])
    return figure


def say_fit(train: Predicted, test: Predicted, *, labels: Sequence[str]) -> str:
    """Say how far off both splits are, and list a few test rows."""
    lines = [
        f"{split.name}: mean absolute error {number(split.mean_absolute_error)} over {len(split.targets):,} rows"
        for split in (train, test)
    ]
    for truths, predictions in list(zip(test.targets, test.predictions, strict=True))[:LISTED]:
        parts = [
            f"{label} {number(float(prediction))} (true {number(float(truth))})"
            for label, truth, prediction in zip(labels, truths, predictions, strict=True)
        ]
        lines.append("  " + ", ".join(parts[:MOST_TARGETS]))
    return "\n".join(lines)


def _title(train: Predicted, test: Predicted) -> str:
    if are_same(train, test):
        return f"mean absolute error: {number(train.mean_absolute_error)}; train and test are the same rows"
    return (
        f"mean absolute error: {number(train.mean_absolute_error)} in training, "
        f"{number(test.mean_absolute_error)} in the test"
    )
