"""The bootstrap: figures of many resamples at once, and the percentiles between which they lie."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from evaluate.accuracy.record import Estimate, Interval
from evaluate.compare import CONFIDENCE

RESAMPLES = 1000
_PERCENTILES = 50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)
_AT_ONCE = 2**22  # weights that are held at once: 32 MB
_ROUNDING = 1e-12  # of sums in float64, which are not the same in another order

# How often each row was drawn, (resamples, rows), to figures, (resamples, figures); NaN where one is undefined. Once
# each, all rows give the figures themselves, so that figure and interval cannot be of different formulas.
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def estimate_all(
    statistics: Mapping[str, Statistic], rows: int, *, resamples: int, seed: int
) -> dict[str, list[Estimate]]:
    """Return every figure with its interval; all statistics see the same resamples, so that graphs can be compared.

    Args:
        statistics: By any name.
        rows: How many there are, at least 1.
        resamples: How many are drawn.
        seed: Decides them.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    step = max(1, _AT_ONCE // rows)
    for start in range(0, resamples, step):
        weights = draw_weights(rng, rows, min(step, resamples - start))
        for name, statistic in statistics.items():
            found[name].append(statistic(weights))
    once = np.ones((1, rows))
    return {
        name: as_estimates(statistic(once)[0], np.concatenate(found[name])) for name, statistic in statistics.items()
    }


def draw_weights(rng: np.random.Generator, rows: int, resamples: int) -> NDArray[np.float64]:
    """Draw rows with replacement; return how often each was drawn, ``(resamples, rows)``."""
    drawn = rng.integers(0, rows, size=(resamples, rows))
    drawn += np.arange(0, resamples * rows, rows)[:, np.newaxis]
    counts = np.bincount(drawn.ravel(), minlength=resamples * rows)
    return counts.reshape(resamples, rows).astype(np.float64)


def as_estimates(values: NDArray[np.float64], resampled: NDArray[np.float64]) -> list[Estimate]:
    """Put figures ``(figures,)`` and those of the resamples ``(resamples, figures)`` together."""
    return [
        Estimate(
            value=float(value) if np.isfinite(value) else None,
            interval_95=percentiles(column) if np.isfinite(value) else None,
        )
        for value, column in zip(values, resampled.T, strict=True)
    ]


def percentiles(figures: NDArray[np.float64]) -> Interval | None:
    """Return the 95 % interval of resampled figures ``(resamples,)``; those that are undefined are left out.

    Returns:
        None where nothing is left, or where all are the same: samples without one mistake have no resample with one, so
        that the bootstrap says nothing of how sure the figure is.
    """
    known = figures[np.isfinite(figures)]
    if not len(known) or np.ptp(known) <= _ROUNDING * np.abs(known).max():
        return None
    low, high = np.percentile(known, _PERCENTILES)
    return float(low), float(high)
