"""Figures of a regression: how far predictions are from the true values, target by target."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.accuracy.record import Estimate, TargetErrors
from evaluate.accuracy.resample import Statistic
from evaluate.compare import upper_bound


def errors_statistic(error: NDArray[np.float64], truth: NDArray[Any]) -> Statistic:
    """Make the statistic of mean absolute error, root mean squared error and R2 of one target.

    Args:
        error: Prediction - truth, ``(rows,)``.
        truth: ``(rows,)``.
    """
    centred = truth.astype(np.float64) - truth.mean(dtype=np.float64)
    columns = np.column_stack([np.abs(error), np.square(error), centred, np.square(centred)])

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        mean_error, mean_square, mean, square = (weights @ columns / weights.sum(axis=1, keepdims=True)).T
        spread = square - np.square(mean)
        with np.errstate(divide="ignore", invalid="ignore"):
            # a resample of a single value has only rounding for a spread
            r2 = np.where(spread > 1e-12 * square, 1 - mean_square / spread, np.nan)
        return np.column_stack([mean_error, np.sqrt(mean_square), r2])

    return statistic


def errors_of_targets(
    names: Sequence[str], error: NDArray[np.float64], estimates: Sequence[list[Estimate]]
) -> tuple[TargetErrors, ...]:
    """Put the figures of every target together.

    Args:
        names: Of the targets.
        error: Predictions - truth, ``(rows, targets)``.
        estimates: Of `errors_statistic`, for each target.
    """
    return tuple(
        TargetErrors(
            target=name,
            mean_absolute_error=float(np.abs(error[:, index]).mean()),
            root_mean_squared_error=float(np.sqrt(np.mean(np.square(error[:, index])))),
            r2=r2.value,
            max_absolute_error=float(np.abs(error[:, index]).max()),
            mean_absolute_error_95=mean.interval_95,
            root_mean_squared_error_95=root.interval_95,
            r2_95=r2.interval_95,
            beyond_max_upper_95=upper_bound(0, len(error)),
        )
        for index, (name, (mean, root, r2)) in enumerate(zip(names, estimates, strict=True))
    )
