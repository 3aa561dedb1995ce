"""The inputs that graphs of any tensors are judged on: what the bundle carries, scaled, noise, extremes, boundary."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.inputs import (
    SCALES,
    Arrays,
    InputSet,
    Predict,
    again,
    among,
    count,
    first_rows,
    join,
    on_boundary,
    require_rows,
    samples,
    take,
    whole,
)
from evaluate.plan import FULL, Plan

NOISE_SCALES = (0.01, 100.0)
_BISECTIONS = 24
_HALF = 0.5
_HOSTILE_SCALE = 50.0


def tensor_input_sets(
    held_out: Arrays, seen: Arrays, *, predict: Predict | None, seed: int, plan: Plan = FULL
) -> list[InputSet]:
    """Build all input sets of a bundle that takes tensors, one or several, of any rank.

    Args:
        held_out: Real samples by input name, ``(rows, …)``, at least one; or noise where there are none.
        seen: All that the bundle carries, which says what range its integers have: they may be indices.
        predict: Class of each row by the reference, or None where nothing is decided and there is no boundary.
        seed: Decides the noise and the pairs.
        plan: How many rows, at which batch sizes.

    Returns:
        The sets; the one of the real samples comes first.

    Raises:
        ValueError: there are no samples.
    """
    require_rows(held_out)
    rng = np.random.default_rng(seed)
    filled = _fill(held_out, rng, plan.rows)
    few, company = first_rows(filled, plan.rows), first_rows(filled, plan.again)
    ends = join(_ends(seen, highest=False), _ends(seen, highest=True))
    sets = [samples(held_out, filled, plan)]
    sets.append(whole("noise, all lowest, all highest", "noise", join(_noises(few, seen, 1.0, rng), ends)))
    if any(values.dtype.kind == "f" for values in few.values()):
        sets += [whole(f"noise x {scale:g}", "noise", _noises(few, seen, scale, rng)) for scale in NOISE_SCALES]
        sets += [whole(f"{plan.subject} x {scale:g}", "scaled", _scaled(few, scale)) for scale in SCALES]
        if predict is not None and plan.boundary:
            sets += on_boundary(filled, blend_tensors, steps=_BISECTIONS, predict=predict, rng=rng, plan=plan)
    sets += again(filled, plan)
    before, after = (
        {name: _hostile(values, seen[name], sign) for name, values in company.items()} for sign in (1.0, -1.0)
    )
    return [*sets, among(company, before, after)]


def blend_tensors(first: Arrays, second: Arrays, share: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return rows on the lines between others; integers, between which there may be nothing, stay the first's."""
    return {
        name: (
            np.asarray(values + (second[name] - values) * _column(share, values), dtype=values.dtype)
            if values.dtype.kind == "f"
            else values
        )
        for name, values in first.items()
    }


def _fill(inputs: Arrays, rng: np.random.Generator, rows: int) -> dict[str, NDArray[Any]]:
    """Add mixtures of two rows where there are few; of integers, each value is one of the two's."""
    missing = rows - count(inputs)
    if missing <= 0:
        return dict(inputs)
    first = take(inputs, rng.integers(0, count(inputs), size=missing))
    second = take(inputs, rng.integers(0, count(inputs), size=missing))
    mixed = blend_tensors(first, second, rng.random(missing))
    for name, values in mixed.items():
        if values.dtype.kind != "f":
            mixed[name] = np.where(rng.random(values.shape) < _HALF, values, second[name])
    return join(inputs, mixed)


def _noises(few: Arrays, seen: Arrays, scale: float, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    return {name: _noise(values, seen[name], scale, rng) for name, values in few.items()}


def _noise(like: NDArray[Any], seen: NDArray[Any], scale: float, rng: np.random.Generator) -> NDArray[Any]:
    if like.dtype == np.uint8:
        return rng.integers(0, 256, size=like.shape, dtype=np.uint8)
    if like.dtype.kind != "f":
        return rng.integers(seen.min(), seen.max(), size=like.shape, endpoint=True).astype(like.dtype)
    size = float(np.sqrt(np.nanmean(np.square(seen, dtype=np.float64)))) or 1.0
    return (scale * size * rng.standard_normal(like.shape)).astype(like.dtype)


def _ends(seen: Arrays, *, highest: bool) -> dict[str, NDArray[Any]]:
    """Return one row that is all the lowest, or all the highest value seen."""
    pick = np.nanmax if highest else np.nanmin
    return {
        name: np.full((1, *values.shape[1:]), 255 * highest if values.dtype == np.uint8 else pick(values), values.dtype)
        for name, values in seen.items()
    }


def _scaled(inputs: Arrays, scale: float) -> dict[str, NDArray[Any]]:
    return {
        name: (values * values.dtype.type(scale)) if values.dtype.kind == "f" else values
        for name, values in inputs.items()
    }


def _hostile(values: NDArray[Any], seen: NDArray[Any], sign: float) -> NDArray[Any]:
    if values.dtype.kind == "f":
        return np.asarray(values * values.dtype.type(sign * _HOSTILE_SCALE))
    return np.full_like(values, seen.max() if sign > 0 else seen.min())


def _column(share: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    return share.reshape(-1, *(1 for _ in values.shape[1:]))
