"""The rows of a table as points: what there is to be learnt."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from serve.bundle import Feature
from train.dataset import Split
from train.pictures.boundary import scatter_classes
from train.pictures.layout import TEST, TRAIN, house_style, legend_below, new_figure, number

ROWS = 12
COLUMNS = 8
SPLITS = (("train", TRAIN, "o"), ("test", TEST, "s"))


class Rows(Protocol):
    """Inputs and targets, as arrays."""

    @property
    def inputs(self) -> NDArray[Any]:
        """``(rows, features)``."""

    @property
    def targets(self) -> NDArray[Any]:
        """``(rows,)`` or ``(rows, targets)``."""


def are_same(train: Rows, test: Rows) -> bool:
    """Return whether both splits are the same rows: too few to be split."""
    return np.array_equal(train.inputs, test.inputs, equal_nan=True) and np.array_equal(train.targets, test.targets)


@house_style()
def draw_classes(train: Split, test: Split, *, labels: Sequence[str], names: Sequence[str]) -> Figure:
    """Draw rows of two features and a class, both splits side by side."""
    splits = [("train", train)] if are_same(train, test) else [("train", train), ("test", test)]
    figure = new_figure(5 * len(splits), 5.2)
    panels: list[Axes] = list(figure.subplots(1, len(splits), squeeze=False, sharex=True, sharey=True)[0])
    for axes, (name, split) in zip(panels, splits, strict=True):
        scatter_classes(axes, split.inputs, split.targets, labels)
        axes.set_title(f"{name}: {len(split):,} points")
        axes.set_xlabel(names[0])
    panels[0].set_ylabel(names[1])
    legend_below(figure, panels[0])
    return figure


@house_style()
def draw_values(train: Split, test: Split, *, labels: Sequence[str], names: Sequence[str]) -> Figure:
    """Draw each target over each feature; train blue, test green."""
    targets, features = train.targets.shape[1], train.inputs.shape[1]
    figure = new_figure(6 if features == 1 else 5 * features, 4.4 * targets)
    panels = figure.subplots(targets, features, squeeze=False)
    for (target, feature), axes in np.ndenumerate(panels):
        for (name, colour, marker), split in zip(SPLITS, (train, test), strict=True):
            if name == "test" and are_same(train, test):
                continue
            inputs, values = split.inputs[:, feature], split.targets[:, target]
            axes.scatter(inputs, values, s=10, color=colour, marker=marker, label=f"{name}: {len(split):,} rows")
        axes.set_xlabel(names[feature])
        axes.set_ylabel(labels[target])
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(f"train and test: the same {len(train):,} rows" if are_same(train, test) else "")
    legend_below(figure, panels[0, 0])
    return figure


def table_cells(
    split: Split, *, features: Sequence[Feature], labels: Sequence[str]
) -> tuple[list[str], list[list[str]], str]:
    """Return header, cells and a note on what is left out of the first rows of a table, targets last.

    Args:
        split: The rows.
        features: Its columns; a category is shown by its name.
        labels: Of the classes, or of the targets.
    """
    shown = features[:COLUMNS]
    classes = split.targets.ndim == 1
    header = [feature.name for feature in shown] + (["class"] if classes else list(labels[:COLUMNS]))
    rows = []
    for inputs, targets in zip(split.inputs[:ROWS], split.targets[:ROWS], strict=True):
        cells = [_cell(feature, value) for feature, value in zip(shown, inputs, strict=False)]
        rows.append([*cells, *([labels[targets]] if classes else [number(value) for value in targets[:COLUMNS]])])
    left = [
        f"{count:,} {what} more"
        for count, what in ((len(features) - COLUMNS, "features"), (len(split) - ROWS, "rows"))
        if count > 0
    ]
    return header, rows, " and ".join(left)


def _cell(feature: Feature, value: np.float32) -> str:
    if not feature.categories or np.isnan(value):
        return number(float(value))
    return feature.categories[int(value)]


def say_row(row: NDArray[np.float32], features: Sequence[Feature]) -> str:
    """Say what the first few features of one row ``(features,)`` are."""
    parts = [f"{feature.name} {_cell(feature, value)}" for feature, value in zip(features, row, strict=True)]
    return ", ".join(parts[:COLUMNS]) + (", …" if len(parts) > COLUMNS else "")


def say_columns(array: NDArray[np.float32], features: Sequence[Feature]) -> str:
    """Say from where to where each column ``(rows, columns)`` goes, or which categories it has, of a few of them."""
    parts = []
    for feature, column in list(zip(features, array.T, strict=True))[:COLUMNS]:
        known = column[~np.isnan(column)]
        missing = f", {len(column) - len(known)} missing" if len(known) < len(column) else ""
        cells = [_cell(feature, value) for value in np.unique(known)]
        span = ", ".join(cells) if feature.categories or len(cells) < 2 else f"{cells[0]} to {cells[-1]}"
        parts.append(f"{feature.name} {span}{missing}" if cells else f"{feature.name} all missing")
    return "; ".join(parts) + ("; …" if len(features) > COLUMNS else "")
