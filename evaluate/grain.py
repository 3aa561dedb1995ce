"""Outputs that somebody rounded to decimals: each error may be small enough, but all values stand on one grid."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHANCE = 1e-15
"""Highest chance of an honest graph's values to stand on the grid at which they are still called rounded."""

_DECIMALS = range(1, 8)
_NEAR = 1.5  # units in the last place from the grid, of a value that was rounded: to multiply by 0.001 moves it
_FAR = 2.5  # of one that was not
_FEWEST = 8  # values, all different, of which something is said
_FIRST = 512  # values that are looked at before all are
_MOST_COLUMNS = 64


def decimals_of(
    values: NDArray[np.floating], *, eager: NDArray[np.floating], reference: NDArray[np.float64]
) -> int | None:
    """Return the number of decimals that all values, or all of one column, are rounded to while PyTorch's are not.

    Only values count whose truth lies between two points of the grid, and eager's as well: a network that rounds, or
    counts in tenths, is left alone. So do multiples of a power of two that have so few decimals anyway: differences of
    great numbers are such. Of a grid so fine that most float32 numbers of that size stand on it, nothing is said.
    Values that come twice count once.

    Args:
        values: Of a graph, of any shape.
        eager: PyTorch's.
        reference: PyTorch's in float64.

    Returns:
        The number, from 1 to 7; None where nothing is rounded, or too little tells.
    """
    for parts in _parts(values, eager, reference):
        few = _few(parts)
        for decimals in _DECIMALS:
            found = _log_chance(*few, decimals=decimals)
            if found is not None and few is not parts:
                found = _log_chance(*parts, decimals=decimals)
            if found is not None and found <= np.log10(CHANCE):
                return decimals
    return None


_Parts = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]


def _parts(*arrays: NDArray[np.floating]) -> Iterator[_Parts]:
    """Yield all values, and those of each column where there are several."""
    values, eager, reference = arrays
    yield values.ravel(), eager.ravel(), reference.ravel()
    if values.ndim == 2 and 1 < values.shape[1] <= _MOST_COLUMNS:
        for index in range(values.shape[1]):
            yield values[:, index], eager[:, index], reference[:, index]


def _few(parts: _Parts) -> _Parts:
    """Return some of many values, from everywhere; of few, all."""
    values, eager, reference = parts
    if len(values) <= _FIRST:
        return parts
    some = np.random.default_rng(0).integers(len(values), size=_FIRST)
    return values[some], eager[some], reference[some]


def _log_chance(
    values: NDArray[np.floating], eager: NDArray[np.floating], reference: NDArray[np.floating], *, decimals: int
) -> float | None:
    """Return the decimal logarithm of the chance that the telling values are on the grid; None where one is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        ulp = np.spacing(np.abs(values.astype(np.float32))).astype(np.float64)
        chance = (2 * _NEAR + 1) * ulp * 10.0**decimals
        telling = chance < 1 / 2
        for others in (reference, eager):
            telling &= _distance(others, decimals) > _FAR * ulp
        telling &= values.astype(np.float64) * 2.0**decimals % 1 != 0
        if (_distance(values[telling], decimals) > _NEAR * ulp[telling]).any():
            return None
    found, first = np.unique(values[telling], return_index=True)
    return float(np.log10(chance[telling][first]).sum()) if len(found) >= _FEWEST else 0.0


def _distance(values: NDArray[np.floating], decimals: int) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    return np.asarray(np.abs(wide - np.round(wide, decimals)))
