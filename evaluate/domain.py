"""What values each input of a bundle may take, and how rows are changed without leaving them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.inputs import Arrays, count, take
from evaluate.truth import Truth
from serve.bundle import Feature, Manifest

# of the values of a row, how many are changed at a time: one of these shares, and at least one value
_SHARES = (0.0, 0.01, 0.1, 0.5, 1.0)
_NEAR = (0.003, 0.03, 0.3)
_FACTORS = (0.5, 2.0)
_MISSING_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Range:
    """What one input may hold; arrays of the shape of a row, or one value for all of it.

    Attributes:
        low: Least value.
        high: Greatest value.
        whole: Where only whole numbers are allowed.
        optional: Where a value may be missing, which is NaN.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    whole: NDArray[np.bool_]
    optional: NDArray[np.bool_]

    def fit(self, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the nearest values that are allowed; what is missing stays so."""
        inside = np.clip(values, self.low, self.high)
        return np.asarray(np.where(self.whole, np.rint(inside), inside)).astype(dtype)


Domain = Mapping[str, Range]


def domain_of(manifest: Manifest, truths: list[Truth]) -> Domain:
    """Return what a bundle's inputs may hold: all bytes, the categories, and else the range of rows already run.

    Args:
        manifest: The bundle's.
        truths: The first is that of the samples, which give floats their range, in a table each column its own.
            Integers, which may be indices, also take that of the noise, which spans all that the bundle carries.
    """
    samples = truths[0].inputs.inputs
    domain = {}
    for spec in manifest.inputs:
        values = samples[spec.name]
        if values.dtype == np.uint8:
            domain[spec.name] = _all_of(0.0, 255.0, whole=True)
        elif values.dtype.kind != "f":
            seen = [truth.inputs.inputs[spec.name] for truth in truths if truth.inputs.kind in {"samples", "noise"}]
            low, high = min(part.min() for part in seen), max(part.max() for part in seen)
            domain[spec.name] = _all_of(float(low), float(high), whole=True)
        elif manifest.features:
            domain[spec.name] = _columns(values, manifest.features)
        else:
            domain[spec.name] = _all_of(float(np.nanmin(values)), float(np.nanmax(values)), whole=False)
    return domain


def _all_of(low: float, high: float, *, whole: bool) -> Range:
    return Range(low=np.asarray(low), high=np.asarray(high), whole=np.asarray(whole), optional=np.asarray(False))


def _columns(table: NDArray[np.float32], features: tuple[Feature, ...]) -> Range:
    missing = np.isnan(table)
    low = np.where(missing, np.inf, table).min(axis=0).astype(np.float64)
    high = np.where(missing, -np.inf, table).max(axis=0).astype(np.float64)
    categories = np.asarray([len(feature.categories) for feature in features])
    never = missing.all(axis=0)
    low = np.where((categories > 0) | never, 0.0, low)
    high = np.where(categories > 0, categories - 1.0, np.where(never, 0.0, high))
    optional = np.asarray([feature.optional for feature in features])
    return Range(low=low, high=high, whole=categories > 0, optional=optional)


def change(rows: Arrays, company: Arrays, domain: Domain, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Change some values of every row: to any other, to one nearby, to an end, to another row's, or by a factor.

    Args:
        rows: What is changed, ``(rows, …)`` each.
        company: Rows of which values are taken over.
        domain: What values are allowed.
        rng: Decides everything.
    """
    number = count(rows)
    others = take(company, rng.integers(0, count(company), size=number))
    moves = rng.integers(0, 5, size=number)
    shares = rng.choice(_SHARES, size=number)
    sizes = rng.choice(_NEAR, size=number)
    factors = rng.uniform(*_FACTORS, size=number)
    # of several inputs, now and then only one is changed
    chosen = rng.integers(-1, len(rows), size=number)
    changed = {}
    for index, (name, values) in enumerate(rows.items()):
        area = domain[name]
        column = (number, *(1 for _ in values.shape[1:]))
        low, high = np.broadcast_to(area.low, values.shape), np.broadcast_to(area.high, values.shape)
        middle = (low + high) / 2
        wide = values.astype(np.float64)
        ways = (
            rng.uniform(low, high + np.where(area.whole, 0.999, 0.0) - np.where(area.whole, 0.5, 0.0)),
            wide + sizes.reshape(column) * (high - low) * rng.standard_normal(values.shape),
            np.where(rng.random(column) < rng.random(values.shape), low, high),
            others[name].astype(np.float64),
            middle + factors.reshape(column) * (wide - middle),
        )
        fresh = np.choose(moves.reshape(column), ways)
        fresh = np.where(area.optional & (rng.random(values.shape) < _MISSING_SHARE), np.nan, fresh)
        where = rng.random(values.shape) < shares.reshape(column)
        flat = where.reshape(number, -1)
        flat[np.arange(number), rng.integers(0, flat.shape[1], size=number)] = True
        where &= ((chosen == index) | (chosen < 0)).reshape(column)
        changed[name] = np.where(where, area.fit(fresh, values.dtype), values)
    return changed
