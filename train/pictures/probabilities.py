"""How sure a classifier is of one row: a bar for each class, beside what it saw."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.pictures.gallery import show_image
from train.pictures.layout import FONT, TRAIN, house_style, new_figure, wrap

CLOSE = 0.1  # two greatest probabilities nearer than this are no answer
MOST_BARS = 12


def is_close(probabilities: NDArray[np.floating[Any]]) -> bool:
    """Return whether the two greatest probabilities ``(classes,)`` are too near each other to tell."""
    greatest = np.sort(probabilities)[::-1][:2]
    return len(greatest) == 2 and bool(greatest[0] - greatest[1] < CLOSE)


def say_doubt(probabilities: NDArray[np.floating[Any]], labels: Sequence[str]) -> str:
    """Return the sentence on two probabilities that are close, or an empty one."""
    if not is_close(probabilities):
        return ""
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    return f"the model does not know: {labels[first]} and {labels[second]} are less than {CLOSE} apart"


def show_probability(value: float) -> str:
    """Return a probability as picture and text print it."""
    return f"{value:.4f}"


@house_style()
def draw_probabilities(
    images: Sequence[tuple[str, NDArray[np.uint8]]],
    probabilities: NDArray[np.floating[Any]],
    labels: Sequence[str],
    *,
    title: str,
    note: str = "",
) -> Figure:
    """Draw the greatest probabilities as bars, the greatest on top.

    Args:
        images: What it saw, each with its title; empty for a row of a table.
        probabilities: ``(classes,)``.
        labels: Of the classes.
        title: Above it all.
        note: Below it all.
    """
    order = np.argsort(-probabilities, kind="stable")[:MOST_BARS]
    figure = new_figure(5.2 + 2.4 * len(images), max(2.6, 0.3 * len(order) + 1.2) + (0.4 if note else 0))
    panels = figure.subplots(1, len(images) + 1, squeeze=False, width_ratios=[*[1.0] * len(images), 2.0])[0]
    for axes, (name, image) in zip(panels, images, strict=False):
        show_image(axes, image)
        axes.set_axis_off()
        axes.set_title(wrap(name, inches=2.2))
    bars = panels[-1]
    places = range(len(order))
    values = probabilities[order]
    bars.barh(places, values, color=[TRAIN, *["#9aa5b1"] * (len(order) - 1)])
    for place, value in zip(places, values, strict=True):
        # stands beyond the end of the axis where the bar is long
        bars.text(value + 0.01, place, show_probability(value), va="center")
    bars.set_yticks(places, [wrap(labels[index], inches=1.6, lines=2) for index in order])
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    bars.set_xticks([0, 0.25, 0.5, 0.75, 1])
    left = len(probabilities) - len(order)
    bars.set_xlabel("probability" + (f"; {left} classes more are below" if left else ""))
    bars.spines[["top", "right"]].set_visible(False)
    figure.suptitle(wrap(title, inches=figure.get_figwidth(), size=FONT + 1), fontsize=FONT + 1)
    if note:
        figure.supxlabel(wrap(note, inches=figure.get_figwidth()), fontsize=FONT)
    return figure
