"""The inputs that graphs are judged on: real ones, noise, extremes, and images on the decision boundary."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BATCH_SIZES = (1, 2, 7, 32, 64)
LARGEST_BATCH = max(BATCH_SIZES)
_RANDOM_ROWS = 64
_BOUNDARY_PAIRS = 32
_BISECTIONS = 12

Predict = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputSet:
    """Rows for a graph.

    Attributes:
        name: What the table calls it.
        images: ``(rows, height, width, channels)``, uint8.
        batch_size: Rows of one run.
        judged: Rows that count; the others only keep them company. Boolean, ``(rows,)``.
    """

    name: str
    images: NDArray[np.uint8]
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
        _whole("random pixels", noise),
        _whole("all 0 and all 255", extremes),
        *([_whole("on the decision boundary", boundary)] if len(boundary) else []),
        *(_whole("held-out samples again", np.resize(few, (LARGEST_BATCH, *shape)), size) for size in BATCH_SIZES),
        _among_hostile_neighbours(few, noise),
    ]


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
    first = images[rng.integers(0, len(images), size=pairs)]
    second = images[rng.integers(0, len(images), size=pairs)]
    start = predict(first)
    differ = start != predict(second)
    first, second, start = first[differ], second[differ], start[differ]
    if len(first) == 0:
        return images[:0]
    near, far = np.zeros(len(first)), np.ones(len(first))
    for _ in range(_BISECTIONS):
        middle = (near + far) / 2
        same = predict(_blend(first, second, middle)) == start
        near, far = np.where(same, middle, near), np.where(same, far, middle)
    return np.unique(np.concatenate([_blend(first, second, near), _blend(first, second, far)]), axis=0)


def _blend(first: NDArray[np.uint8], second: NDArray[np.uint8], share: NDArray[np.float64]) -> NDArray[np.uint8]:
    weight = share.reshape(-1, 1, 1, 1)
    return np.rint(first * (1 - weight) + second * weight).astype(np.uint8)


def _whole(name: str, images: NDArray[np.uint8], batch_size: int = LARGEST_BATCH) -> InputSet:
    return InputSet(name=name, images=images, batch_size=batch_size, judged=np.ones(len(images), dtype=np.bool_))


def _among_hostile_neighbours(images: NDArray[np.uint8], noise: NDArray[np.uint8]) -> InputSet:
    """Put each image between a row of noise and a row of all 255, in one batch."""
    hostile = np.resize(noise, images.shape)
    rows = np.stack([hostile, images, np.full_like(images, 255)], axis=1).reshape(-1, *images.shape[1:])
    judged = np.tile(np.asarray([False, True, False]), len(images))
    return InputSet(name="among hostile neighbours", images=rows, batch_size=LARGEST_BATCH, judged=judged)
