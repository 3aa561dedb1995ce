"""Images in a grid, each with a title: samples, variations, predictions and errors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.pictures.layout import (
    CELL,
    FONT,
    RIGHT,
    RIGHT_MARK,
    SMALL,
    WIDTH,
    WRONG,
    WRONG_MARK,
    house_style,
    new_grid,
    wrap,
)
from train.pictures.predict import Answers


def show_image(axes: Axes, image: NDArray[np.uint8]) -> None:
    """Show ``(height, width, channels)``, one channel in grey, each pixel as it is."""
    if image.shape[-1] == 1:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        axes.imshow(image, interpolation="nearest")


@house_style()
def draw_gallery(
    images: NDArray[np.uint8],
    titles: Sequence[str],
    *,
    columns: int,
    colours: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw images ``(rows, height, width, channels)`` in a grid, from left to right.

    Args:
        images: At least one.
        titles: One above each; empty for none.
        columns: How many stand side by side.
        colours: Of the titles.
        title: Above them all.
    """
    across = min(columns, len(images))
    size = SMALL if across > 4 else FONT
    shown = [wrap(name, inches=CELL if across < 4 else WIDTH / across, size=size) for name in titles]
    figure, panels = new_grid(
        len(images),
        columns=columns,
        ratio=images.shape[1] / images.shape[2],
        title=title,
        lines=max(name.count("\n") + bool(name) for name in shown),
    )
    for axes, image, name, colour in zip(panels, images, shown, colours or ["black"] * len(shown), strict=True):
        show_image(axes, image)
        axes.set_title(name, color=colour, fontsize=size)
    return figure


def say_predictions(
    answers: Answers, class_index: NDArray[np.int64], labels: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    """Return a title, its colour and one line of text for each row of answers.

    Args:
        answers: Of the rows to be shown.
        class_index: The truth.
        labels: Of the classes.
    """
    titles, colours, lines = [], [], []
    for predicted, truth, confidence in zip(answers.class_index, class_index, answers.confidence, strict=True):
        right = predicted == truth
        mark = RIGHT_MARK if right else WRONG_MARK
        titles.append(f"{mark} Pred: {labels[predicted]} | {confidence:.1%}\nTruth: {labels[truth]}")
        colours.append(RIGHT if right else WRONG)
        lines.append(f"{mark} Pred: {labels[predicted]} | Truth: {labels[truth]} | {confidence:.1%}")
    return titles, colours, lines


def worst_first(answers: Answers, class_index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of the rows that were taken for another class, the most confident first."""
    wrong = np.flatnonzero(answers.class_index != class_index)
    ordered: NDArray[np.int64] = wrong[np.argsort(-answers.confidence[wrong], kind="stable")]
    return ordered


@house_style()
def draw_nothing(sentence: str) -> Figure:
    """Draw a sentence where there is nothing to be seen."""
    figure, (axes,) = new_grid(1, columns=1, ratio=0.4)
    axes.text(0.5, 0.5, wrap(sentence, inches=figure.get_figwidth() - 0.5), ha="center", va="center")
    return figure
