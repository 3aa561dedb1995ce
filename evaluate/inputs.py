"""The inputs that graphs are judged on: real ones, noise, extremes, and images on the decision boundary."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.bundle import Feature

BATCH_SIZES = (1, 2, 7, 32, 64)
LARGEST_BATCH = max(BATCH_SIZES)
_RANDOM_ROWS = 64
_BOUNDARY_PAIRS = 32
_BISECTIONS = 12
_TABLE_BISECTIONS = 24
_MISSING_SHARE = 0.25
_HALF = 0.5

SCALES = (0.01, 0.1, 10.0, 100.0)

Predict = Callable[[NDArray[Any]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputSet:
    """Rows for a graph.

    Attributes:
        name: What the table calls it.
        rows: As the graph takes them, ``(rows, …)``.
        batch_size: Rows of one run.
        judged: Rows that count; the others only keep them company. Boolean, ``(rows,)``.
    """

    name: str
    rows: NDArray[Any]
    batch_size: int
    judged: NDArray[np.bool_]


def image_input_sets(held_out: NDArray[np.uint8], *, predict: Predict, seed: int) -> list[InputSet]:
    """Build all input sets of an image bundle.

    Args:
        held_out: Real samples that the model was not trained on, ``(rows, height, width, channels)``, at least one.
        predict: Class of each image by the reference; used to find the decision boundary.
        seed: Decides the noise and the pairs.

    Returns:
        The sets; the one of the real samples comes first.

    Raises:
        ValueError: there are no samples.
    """
    if len(held_out) == 0:
        raise ValueError("there are no held-out samples, but at least one was expected")
    rng = np.random.default_rng(seed)
    shape = held_out.shape[1:]
    noise = rng.integers(0, 256, size=(_RANDOM_ROWS, *shape), dtype=np.uint8)
    extremes = np.stack([np.zeros(shape, dtype=np.uint8), np.full(shape, 255, dtype=np.uint8)])
    boundary = boundary_images(held_out, predict=predict, rng=rng)
    few = held_out[:LARGEST_BATCH]
    return [
        _whole("held-out samples", held_out),
        _whole("random pixels, all 0, all 255", np.concatenate([noise, extremes])),
        *([_whole("on the decision boundary", _fill(boundary, few))] if len(boundary) else []),
        *(_whole("held-out samples again", np.resize(few, (LARGEST_BATCH, *shape)), size) for size in BATCH_SIZES),
        _among(few, np.resize(noise, few.shape), np.full_like(few, 255)),
    ]


def table_input_sets(
    held_out: NDArray[np.float32], features: tuple[Feature, ...], *, predict: Predict | None, seed: int
) -> list[InputSet]:
    """Build all input sets of a tabular bundle.

    Args:
        held_out: Real rows that the model was not trained on, ``(rows, features)``, float32, at least one.
        features: The columns; categories are not scaled, and optional values go missing.
        predict: Class of each row by the reference, or None for a regression, which has no boundary.
        seed: Decides the noise and the pairs.

    Returns:
        The sets; the one of the real rows comes first.

    Raises:
        ValueError: there are no rows.
    """
    if len(held_out) == 0:
        raise ValueError("there are no held-out samples, but at least one was expected")
    rng = np.random.default_rng(seed)
    real = len(held_out)
    held_out = _fill_table(held_out, rng)
    name = "held-out samples" if len(held_out) == real else "held-out samples and mixtures of them"
    numbers = np.asarray([not feature.categories for feature in features])
    few = np.resize(held_out, (LARGEST_BATCH, len(features)))
    spread = np.nan_to_num(held_out)
    noise = rng.uniform(spread.min(axis=0), spread.max(axis=0), size=few.shape).astype(np.float32)
    for column, feature in enumerate(features):
        if feature.categories:
            noise[:, column] = rng.integers(0, len(feature.categories), size=len(noise))
        if feature.optional:
            noise[rng.random(len(noise)) < _MISSING_SHARE, column] = np.nan
    sets = [_whole(name, held_out), _whole("random rows", noise)]
    sets += [_whole(f"held-out x {scale:g}", _scaled(few, numbers, scale)) for scale in SCALES]
    if predict is not None and numbers.all():
        boundary = boundary_rows(np.nan_to_num(few), predict=predict, rng=rng)
        sets += [_whole("on the decision boundary", _fill(boundary, few))] if len(boundary) else []
    sets += [_whole("held-out samples again", few, size) for size in BATCH_SIZES]
    return [*sets, _among(few, _scaled(few, numbers, 50.0), _scaled(few, numbers, -50.0))]


def boundary_rows(
    table: NDArray[np.float32], *, predict: Predict, rng: np.random.Generator, pairs: int = _BOUNDARY_PAIRS
) -> NDArray[np.float32]:
    """Bisect the lines between pairs of rows of different predicted classes, as `boundary_images` does."""

    def blend(first: NDArray[Any], second: NDArray[Any], share: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(first + (second - first) * share[:, None], dtype=np.float32)

    return _bisect(table, blend, steps=_TABLE_BISECTIONS, predict=predict, rng=rng, pairs=pairs)


def _fill_table(table: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add mixtures of rows to a table that is small; each takes every column from one of two rows, or lies between."""
    missing = LARGEST_BATCH - len(table)
    if missing <= 0:
        return table
    first = table[rng.integers(0, len(table), size=missing)]
    second = table[rng.integers(0, len(table), size=missing)]
    share = rng.random((missing, 1)).astype(np.float32)
    between = first + (second - first) * share
    whole = (np.rint(first) == first) & (np.rint(second) == second)
    mixed = np.where(whole | np.isnan(between), np.where(share < _HALF, first, second), between)
    return np.concatenate([table, mixed.astype(np.float32)])


def _scaled(table: NDArray[np.float32], numbers: NDArray[np.bool_], scale: float) -> NDArray[np.float32]:
    return np.where(numbers, table * np.float32(scale), table).astype(np.float32)


def boundary_images(
    images: NDArray[np.uint8], *, predict: Predict, rng: np.random.Generator, pairs: int = _BOUNDARY_PAIRS
) -> NDArray[np.uint8]:
    """Blend pairs of images of different predicted classes, and bisect the blend until its class is about to change.

    Args:
        images: ``(rows, height, width, channels)``, uint8.
        predict: Class of each image.
        rng: Chooses the pairs.
        pairs: How many at most.

    Returns:
        Images as close to the boundary as whole pixel values come, at most two a pair: one of either side.
    """
    return np.asarray(_bisect(images, _blend, steps=_BISECTIONS, predict=predict, rng=rng, pairs=pairs))


def _bisect(
    rows: NDArray[Any],
    blend: Callable[[NDArray[Any], NDArray[Any], NDArray[np.float64]], NDArray[Any]],
    *,
    steps: int,
    predict: Predict,
    rng: np.random.Generator,
    pairs: int,
) -> NDArray[Any]:
    first = rows[rng.integers(0, len(rows), size=pairs)]
    second = rows[rng.integers(0, len(rows), size=pairs)]
    start = predict(first)
    differ = start != predict(second)
    first, second, start = first[differ], second[differ], start[differ]
    if len(first) == 0:
        return rows[:0]
    near, far = np.zeros(len(first)), np.ones(len(first))
    for _ in range(steps):
        middle = (near + far) / 2
        same = predict(blend(first, second, middle)) == start
        near, far = np.where(same, middle, near), np.where(same, far, middle)
    return np.unique(np.concatenate([blend(first, second, near), blend(first, second, far)]), axis=0)


def _fill(rows: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Add other rows to a set that is small: judged by eager's luck on a few values, a right graph could fail."""
    return rows if len(rows) >= LARGEST_BATCH else np.concatenate([rows, others])


def _blend(first: NDArray[np.uint8], second: NDArray[np.uint8], share: NDArray[np.float64]) -> NDArray[np.uint8]:
    weight = share.reshape(-1, 1, 1, 1)
    return np.rint(first * (1 - weight) + second * weight).astype(np.uint8)


def _whole(name: str, rows: NDArray[Any], batch_size: int = LARGEST_BATCH) -> InputSet:
    return InputSet(name=name, rows=rows, batch_size=batch_size, judged=np.ones(len(rows), dtype=np.bool_))


def _among(rows: NDArray[Any], before: NDArray[Any], after: NDArray[Any]) -> InputSet:
    """Put each row between two hostile ones, in one batch."""
    mixed = np.stack([before, rows, after], axis=1).reshape(-1, *rows.shape[1:])
    judged = np.tile(np.asarray([False, True, False]), len(rows))
    return InputSet(name="among hostile neighbours", rows=mixed, batch_size=LARGEST_BATCH, judged=judged)
