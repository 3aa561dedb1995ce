"""The inputs that graphs of images are judged on: real ones, noise, extremes, and images on the decision boundary."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.inputs import (
    Arrays,
    InputSet,
    Predict,
    again,
    among,
    first_rows,
    on_boundary,
    require_rows,
    samples,
    whole,
)
from evaluate.plan import FULL, Plan

NOISE = "random pixels, all 0, all 255"
_BISECTIONS = 12


def image_input_sets(held_out: Arrays, *, predict: Predict | None, seed: int, plan: Plan = FULL) -> list[InputSet]:
    """Build all input sets of an image bundle.

    Args:
        held_out: Real samples that the model was not trained on, ``(rows, height, width, channels)``, uint8.
        predict: Class of each image by the reference, or None where nothing is decided and there is no boundary.
        seed: Decides the noise and the pairs.
        plan: How many rows, at which batch sizes.

    Returns:
        The sets; the one of the real samples comes first.

    Raises:
        ValueError: there are no samples.
    """
    require_rows(held_out)
    rng = np.random.default_rng(seed)
    ((name, images),) = held_out.items()
    shape = images.shape[1:]
    noise = rng.integers(0, 256, size=(plan.rows, *shape), dtype=np.uint8)
    extremes = np.stack([np.zeros(shape, dtype=np.uint8), np.full(shape, 255, dtype=np.uint8)])
    filled = {name: _fill(images, rng, plan.rows)}
    few = first_rows(filled, plan.again)
    sets = [samples(held_out, filled, plan), whole(NOISE, "noise", {name: np.concatenate([noise, extremes])})]
    if predict is not None and plan.boundary:
        sets += on_boundary(filled, blend_images, steps=_BISECTIONS, predict=predict, rng=rng, plan=plan)
    hostile = np.resize(noise, few[name].shape)
    return [*sets, *again(filled, plan), among(few, {name: hostile}, {name: np.full_like(few[name], 255)})]


def blend_images(first: Arrays, second: Arrays, share: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return images between others, in whole pixel values."""
    weight = share.reshape(-1, 1, 1, 1)
    return {
        name: np.rint(values * (1 - weight) + second[name] * weight).astype(np.uint8) for name, values in first.items()
    }


def _fill(images: NDArray[np.uint8], rng: np.random.Generator, rows: int) -> NDArray[np.uint8]:
    """Add images between two, where there are few: eager's luck on a few values would be the yardstick."""
    missing = rows - len(images)
    if missing <= 0:
        return images
    first, second = (images[rng.integers(0, len(images), size=missing)] for _ in range(2))
    mixed = blend_images({"": first}, {"": second}, rng.random(missing))[""]
    return np.concatenate([images, mixed])
