"""Which inputs a bundle carries to prove itself with: real held-out samples, noise and the two extremes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.bundle import Feature, TensorSpec
from serve.golden import Golden

HELD_OUT_ROWS = 32
CALIBRATION_ROWS = 512
COSTLY_FLOPS = 2_000_000_000
"""Most operations of a row that a network is proven on all rows with; of a larger one, see `COSTLY`."""

_SEED = 20_240_613


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """How many rows of each kind; one of zeros and a full one come in addition.

    Attributes:
        held_out: Real samples, at most.
        random: Noise beside them.
        noise: Noise where there is nothing else.
    """

    held_out: int
    random: int
    noise: int


USUAL = RowCounts(held_out=HELD_OUT_ROWS, random=8, noise=32)
COSTLY = RowCounts(held_out=10, random=4, noise=14)


def rows_for(flops: int) -> RowCounts:
    """Choose how many rows prove a network, by the operations that one takes: the same on every machine."""
    return USUAL if flops <= COSTLY_FLOPS else COSTLY


def leave_out_unanswered(golden: Golden) -> Golden:
    """Leave out noise and extremes that PyTorch itself has no finite outputs for, as of a row that is all padding.

    They prove nothing, and no server could reproduce them. Real samples stay: what a network gives for those matters.
    """
    finite = np.ones(golden.rows, dtype=np.bool_)
    outputs: list[NDArray[Any]] = [*golden.reference.values(), *golden.eager.values()]
    for values in outputs:
        finite &= np.isfinite(values).reshape(golden.rows, -1).all(axis=1)
    kept = finite | (golden.kind == "held-out")
    if kept.all() or not kept.any():
        return golden
    return Golden(
        inputs={name: values[kept] for name, values in golden.inputs.items()},
        reference={name: values[kept] for name, values in golden.reference.items()},
        eager={name: values[kept] for name, values in golden.eager.items()},
        class_index=golden.class_index[kept],
        kind=golden.kind[kept],
    )


def choose_held_out(class_index: NDArray[np.int64], rows: int = HELD_OUT_ROWS) -> NDArray[np.int64]:
    """Choose rows of a test split, spread evenly over the classes.

    Args:
        class_index: True classes of the split, ``(rows,)``; all equal where there are none.
        rows: How many to choose; all of them when the split is smaller.

    Returns:
        Indices into the split, class by class in turn; the same ones every time.
    """
    shuffled = np.random.default_rng(_SEED).permutation(len(class_index))
    queues = [list(shuffled[class_index[shuffled] == label]) for label in np.unique(class_index)]
    chosen: list[int] = []
    while len(chosen) < min(rows, len(class_index)):
        for queue in queues:
            if queue and len(chosen) < rows:
                chosen.append(int(queue.pop(0)))
    return np.asarray(chosen, dtype=np.int64)


def golden_images(
    images: NDArray[np.uint8], class_index: NDArray[np.int64], counts: RowCounts = USUAL
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.str_]]:
    """Choose the golden inputs of an image bundle.

    Args:
        images: The test split, ``(batch, height, width, channels)``, uint8.
        class_index: Its true classes, ``(batch,)``.
        counts: How many rows of each kind.

    Returns:
        The images, their classes (-1 where there is none), and the kind of each row: ``held-out``, ``random``,
        ``zeros`` or ``full``.
    """
    chosen = choose_held_out(class_index, counts.held_out)
    shape = images.shape[1:]
    noise = np.random.default_rng(_SEED).integers(0, 256, size=(counts.random, *shape), dtype=np.uint8)
    extremes = np.stack([np.zeros(shape, dtype=np.uint8), np.full(shape, 255, dtype=np.uint8)])
    kinds = ["held-out"] * len(chosen) + ["random"] * counts.random + ["zeros", "full"]
    unknown = np.full(counts.random + 2, -1, dtype=np.int64)
    return (
        np.concatenate([images[chosen], noise, extremes]),
        np.concatenate([class_index[chosen], unknown]),
        np.asarray(kinds),
    )


def golden_features(
    table: NDArray[np.float32],
    class_index: NDArray[np.int64],
    features: tuple[Feature, ...],
    counts: RowCounts = USUAL,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.str_]]:
    """Choose the golden inputs of a tabular bundle.

    Args:
        table: The test split, ``(batch, features)``, float32; NaN where a value is missing.
        class_index: Its true classes, ``(batch,)``; -1 throughout for a regression.
        features: The columns.
        counts: How many rows of each kind.

    Returns:
        As `golden_images`; ``random`` rows lie within the columns' ranges, ``full`` at their upper ends.
    """
    chosen = choose_held_out(class_index, counts.held_out)
    rng = np.random.default_rng(_SEED)
    numbers = np.nan_to_num(table)
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    noise = rng.uniform(low, high, size=(counts.random, table.shape[1])).astype(np.float32)
    full = high.astype(np.float32)
    for column, feature in enumerate(features):
        if feature.categories:
            noise[:, column] = rng.integers(0, len(feature.categories), size=counts.random)
            full[column] = len(feature.categories) - 1
        if feature.optional:
            noise[0, column] = np.nan
    rows = np.concatenate([table[chosen], noise, np.zeros((1, table.shape[1]), np.float32), full[None]])
    kinds = ["held-out"] * len(chosen) + ["random"] * counts.random + ["zeros", "full"]
    unknown = np.full(counts.random + 2, -1, dtype=np.int64)
    return rows, np.concatenate([class_index[chosen], unknown]), np.asarray(kinds)


def calibration_rows(train: NDArray[Any]) -> NDArray[Any]:
    """Choose rows of the training split, ``(batch, …)``, from which a format may measure ranges; always the same."""
    chosen = np.random.default_rng(_SEED).permutation(len(train))[:CALIBRATION_ROWS]
    return np.ascontiguousarray(train[np.sort(chosen)])


def golden_tensors(
    specs: tuple[TensorSpec, ...],
    held_out: Mapping[str, NDArray[Any]],
    class_index: NDArray[np.int64],
    *,
    center: tuple[float, ...] = (),
    spread: tuple[float, ...] = (),
    counts: RowCounts = USUAL,
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], NDArray[np.str_]]:
    """Choose the golden inputs of any model, of whose inputs there may be no real sample.

    Args:
        specs: What the graph takes.
        held_out: Real rows of each input, ``(rows, …)``; empty where there are none.
        class_index: Their true classes, ``(rows,)``, -1 where it is not known.
        center: Of a table's columns, what noise lies around; otherwise around 0.
        spread: Of a table's columns, how far; otherwise 1.
        counts: How many rows of each kind.

    Returns:
        As `golden_images`. Noise lies within the range of the samples where there are any; else floats are normal,
        bytes take every value and integers, which may be indices, are 0 or 1.
    """
    chosen = choose_held_out(class_index, counts.held_out) if held_out else np.empty(0, dtype=np.int64)
    rng = np.random.default_rng(_SEED)
    noise_rows = counts.random if held_out else counts.noise
    inputs = {}
    for spec in specs:
        shape = tuple(int(size) for size in spec.shape[1:])
        real = held_out[spec.name] if held_out else np.empty((0, *shape), dtype=spec.dtype)
        middle = np.asarray(center or 0.0, dtype=np.float64)
        reach = np.asarray(spread or 1.0, dtype=np.float64)
        noise, full = _noise(rng, (noise_rows, *shape), real, spec.dtype, middle, reach)
        inputs[spec.name] = np.concatenate([real[chosen], noise, np.zeros((1, *shape), spec.dtype), full])
    kinds = ["held-out"] * len(chosen) + ["random"] * noise_rows + ["zeros", "full"]
    unknown = np.full(noise_rows + 2, -1, dtype=np.int64)
    return inputs, np.concatenate([class_index[chosen], unknown]), np.asarray(kinds)


def _noise(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    real: NDArray[Any],
    dtype: str,
    center: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return noise rows, and one row at the upper end."""
    one = (1, *shape[1:])
    if dtype == "uint8":
        return rng.integers(0, 256, size=shape, dtype=np.uint8), np.full(one, 255, dtype=np.uint8)
    if dtype == "int64":
        low, high = (int(real.min()), int(real.max())) if real.size else (0, 1)
        return rng.integers(low, high, size=shape, endpoint=True), np.full(one, high, dtype=np.int64)
    if real.size:
        low, high = np.nanmin(real, axis=0), np.nanmax(real, axis=0)
        return rng.uniform(low, high, size=shape).astype(dtype), np.broadcast_to(high, one).astype(dtype)
    noise = center + spread * rng.standard_normal(shape)
    return noise.astype(dtype), np.broadcast_to(center + spread, one).astype(dtype)
