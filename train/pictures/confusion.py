"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.pictures.layout import FONT, SMALL, house_style, new_figure, row_lines, shorten, thin

MOST_COUNTED = 20  # more classes than that leave no room for a number in each cell
MOST_LABELS = 40


def count_confusions(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return how many rows of each class were taken for each: ``(true classes, predicted classes)``."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def largest_confusions(counts: NDArray[np.int64], most: int = 5) -> list[tuple[int, int, int]]:
    """Return true class, predicted class and count of the commonest mistakes, the commonest first."""
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = [(int(place // len(counts)), int(place % len(counts))) for place in order]
    return [
        (truth, predicted, int(mistakes[truth, predicted])) for truth, predicted in pairs if mistakes[truth, predicted]
    ]


@house_style()
def draw_confusion(counts: NDArray[np.int64], labels: Sequence[str], *, title: str) -> Figure:
    """Draw counts ``(true classes, predicted classes)``; the shade is the share of the row, so small classes show."""
    classes = len(labels)
    shown = [shorten(label, 18) for label in labels]
    longest = max(map(len, shown)) * 0.62 * FONT / 72
    cell = min(0.62, 7.5 / classes) if classes > MOST_COUNTED else max(0.4, 0.62 - 0.01 * classes)
    figure = new_figure(classes * cell + longest + 0.8, classes * cell + min(longest, 1.2) + 0.9)
    axes = figure.subplots()
    rows = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(rows, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if classes <= MOST_COUNTED:
        for (truth, predicted), count in np.ndenumerate(counts):
            shade = "white" if shares[truth, predicted] > 0.55 else "black" if count else "#888888"
            axes.text(predicted, truth, f"{count:,}", ha="center", va="center", color=shade, fontsize=SMALL)
    places = thin(classes, MOST_LABELS)
    names = [shown[place] for place in places]
    upright = max(map(len, shown)) * 0.62 * FONT / 72 < cell
    axes.set_xticks(places, names, rotation=0 if upright else 45 if classes <= MOST_COUNTED else 90)
    for label in axes.get_xticklabels() if not upright and classes <= MOST_COUNTED else []:
        label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title + "\nshade: share of the row", fontsize=FONT)
    return figure


def say_confusion(counts: NDArray[np.int64], labels: Sequence[str]) -> str:
    """Say how many rows are right, name the commonest mistakes, and list precision, recall and F1 of each class."""
    rows = int(counts.sum())
    lines = [f"{counts.trace() / rows:.2%} of {rows:,} test rows right"]
    mistakes = largest_confusions(counts)
    lines.append("most often taken for another:" if mistakes else "none is taken for another")
    for truth, predicted, count in mistakes:
        of = int(counts[truth].sum())
        lines.append(f"  {labels[truth]} for {labels[predicted]}: {count:,} of {of:,} ({count / of:.1%})")
    cells: list[tuple[str, ...]] = [("class", "precision", "recall", "F1")]
    cells += [
        (label, *("-" if value != value else f"{value:.4f}" for value in scores))
        for label, scores in zip(labels, score_classes(counts), strict=True)
    ]
    return "\n".join([*lines, *row_lines(cells)])


def score_classes(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return precision, recall and F1 of each class ``(classes, 3)``; NaN where there is nothing to divide by."""
    right, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.stack([right / predicted, right / true, 2 * right / (predicted + true)], axis=1)
