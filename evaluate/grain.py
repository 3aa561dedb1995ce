"""Outputs that somebody rounded to decimals: each error may be small enough, but all values stand on one grid."""

import numpy as np
from numpy.typing import NDArray

CHANCE = 1e-15
"""Highest chance of an honest graph's values to stand on the grid, from which on they are called rounded."""

_MOST_DECIMALS = 7
_NEAR = 1.0  # units in the last place from the grid, of a value that was rounded: one more operation may move it
_FAR = 2.5  # of one that was not
_FEWEST = 8  # values, all different, of which something is said
_FIRST = 256  # values that are looked at before all are


def decimals_of(
    values: NDArray[np.float32], *, eager: NDArray[np.float32], reference: NDArray[np.float64]
) -> int | None:
    """Return the number of decimals that all values are rounded to while PyTorch's are not, or None.

    Only values count whose truth lies between two points of the grid, and eager's as well: a network that rounds, or
    counts in tenths, is left alone. Of a grid so fine that it has most float32 numbers of that size on it, nothing is
    said. Values that come twice count once.

    Args:
        values: Of a graph, of any shape.
        eager: PyTorch's.
        reference: PyTorch's in float64.
    """
    step = max(1, values.size // _FIRST)
    for decimals in range(_MOST_DECIMALS + 1):
        first = _log_chance(values.ravel()[::step], eager.ravel()[::step], reference.ravel()[::step], decimals=decimals)
        if first < 0 and _log_chance(values, eager, reference, decimals=decimals) <= np.log10(CHANCE):
            return decimals
    return None


def _log_chance(
    values: NDArray[np.float32], eager: NDArray[np.float32], reference: NDArray[np.float64], *, decimals: int
) -> float:
    """Return the decimal logarithm of the chance that all values are on the grid; 0 where one is not, or few tell."""
    ulp = np.spacing(np.abs(values)).astype(np.float64)
    step = 10.0**-decimals
    chance = (2 * _NEAR + 1) * ulp / step
    telling = (values != 0) & (chance < 1 / 2)
    telling &= (_distance(reference, decimals) > _FAR * ulp) & (_distance(eager, decimals) > _FAR * ulp)
    if not telling.any():
        return 0.0
    found, first = np.unique(values[telling], return_index=True)
    if len(found) < _FEWEST or (_distance(found, decimals) > _NEAR * ulp[telling][first]).any():
        return 0.0
    return float(np.log10(chance[telling][first]).sum())


def _distance(values: NDArray[np.floating], decimals: int) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    return np.asarray(np.abs(wide - np.round(wide, decimals)))
