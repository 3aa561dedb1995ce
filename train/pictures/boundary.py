"""Which class a network gives each place of a plane, with the points of both splits on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.pictures.layout import MARKERS, class_colours, house_style, legend_below, new_figure
from train.pictures.predict import Answers

MARGIN = 0.1
MARGIN_SHARE = 0.02  # of the span, so that no point is cut in wide data
STEPS = 201
HINT = (
    "measured on all points with the weights that the run kept; the training figures that a run prints are of each "
    "batch before its step"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Places of a plane, row by row.

    Attributes:
        x: Of the columns, ``(steps,)``.
        y: Of the rows, ``(steps,)``.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]

    @property
    def points(self) -> NDArray[np.float32]:
        """Return the places as features, ``(steps * steps, 2)`` float32."""
        columns, rows = np.meshgrid(self.x, self.y)
        return np.stack([columns.ravel(), rows.ravel()], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The points of one split.

    Attributes:
        name: Of the split.
        features: ``(rows, 2)``.
        class_index: The truth, ``(rows,)``.
        predicted: What the network says, ``(rows,)``.
    """

    name: str
    features: NDArray[np.float32]
    class_index: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def title(self) -> str:
        """Say how many are right, and by which weights."""
        share = np.mean(self.predicted == self.class_index)
        return f"{self.name}: {share:.2%} of {len(self.features):,} points right, by the kept weights"


def make_plane(features: NDArray[np.float32], *, steps: int = STEPS) -> Plane:
    """Return the plane that all points ``(rows, 2)`` lie on, with a margin around them."""
    low, high = features.min(axis=0), features.max(axis=0)
    margin = np.maximum(MARGIN, MARGIN_SHARE * (high - low))
    low, high = low - margin, high + margin
    x, y = (np.linspace(first, last, steps, dtype=np.float32) for first, last in zip(low, high, strict=True))
    return Plane(x=x, y=y)


def shade(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return the colour of each place ``(places, 3)``: two classes on one scale, more by the one that is likeliest."""
    classes = probabilities.shape[1]
    if classes == 2:
        colours: NDArray[np.floating[Any]] = matplotlib.colormaps["RdYlBu"](0.1 + 0.8 * probabilities[:, 1])[:, :3]
        return 0.25 + 0.75 * colours
    best = probabilities.argmax(axis=1)
    surplus = (probabilities.max(axis=1) - 1 / classes) / max(1 - 1 / classes, 1e-9)
    strength = (0.15 + 0.6 * surplus)[:, np.newaxis]
    shaded: NDArray[np.floating[Any]] = 1 - strength * (1 - np.array(class_colours(classes))[best])
    return shaded


def class_leads(probabilities: NDArray[np.floating[Any]]) -> list[NDArray[np.floating[Any]]]:
    """Return how far each class is ahead of the best other one ``(places,)``, where it is 0 somewhere between places.

    Classes that have all places, or none, are left out: they have no boundary.
    """
    leads = [
        probabilities[:, index] - np.delete(probabilities, index, axis=1).max(axis=1, initial=0)
        for index in range(probabilities.shape[1])
    ]
    return [lead for lead in leads if lead.min() < 0 < lead.max()]


@house_style()
def draw_boundary(
    plane: Plane, answers: Answers, splits: Sequence[Points], *, labels: Sequence[str], names: Sequence[str]
) -> Figure:
    """Draw the plane once per split, side by side on the same scales.

    Args:
        plane: The places.
        answers: What the network says of them, ``plane.points``.
        splits: Whose points lie on it.
        labels: Of the classes.
        names: Of the two features.
    """
    figure = new_figure(5 * len(splits), 5.2)
    panels: list[Axes] = list(figure.subplots(1, len(splits), squeeze=False, sharex=True, sharey=True)[0])
    shape = len(plane.y), len(plane.x)
    colours = shade(answers.probabilities).reshape(*shape, 3)
    leads = class_leads(answers.probabilities)
    extent = (float(plane.x[0]), float(plane.x[-1]), float(plane.y[0]), float(plane.y[-1]))
    for axes, points in zip(panels, splits, strict=True):
        axes.imshow(colours, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
        for lead in leads:
            axes.contour(plane.x, plane.y, lead.reshape(shape), levels=[0], colors="#333333", linewidths=0.8)
        scatter_classes(axes, points.features, points.class_index, labels)
        axes.set_title(points.title)
        axes.set_xlabel(names[0])
    panels[0].set_ylabel(names[1])
    legend_below(figure, panels[0])
    return figure


def scatter_classes(
    axes: Axes, features: NDArray[np.float32], class_index: NDArray[np.int64], labels: Sequence[str]
) -> None:
    """Draw points ``(rows, 2)``, each class in its colour and shape."""
    for index, (label, colour) in enumerate(zip(labels, class_colours(len(labels)), strict=True)):
        rows = features[class_index == index]
        marker = MARKERS[index % len(MARKERS)]
        axes.scatter(
            rows[:, 0], rows[:, 1], s=18, color=colour, marker=marker, edgecolors="black", linewidths=0.4, label=label
        )
