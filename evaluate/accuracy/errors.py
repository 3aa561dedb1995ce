"""Figures of a regression: how far predictions are from the true values, target by target."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.accuracy.record import Estimate, GraphErrors, TargetErrors
from evaluate.accuracy.resample import Statistic, estimate_all
from evaluate.accuracy.run import Outcome, Outcomes
from evaluate.compare import upper_bound


def measure_errors(outcomes: Outcomes, *, resamples: int, seed: int) -> tuple[GraphErrors, ...]:
    """Return the errors of every graph of a regression."""
    truth, names = outcomes.labelled.truth, outcomes.manifest.labels
    errors = [outcome.outputs["prediction"].astype(np.float64) - truth for outcome in outcomes.all]
    statistics = {
        f"{place} {index}": errors_statistic(error[:, index], truth[:, index])
        for place, error in enumerate(errors)
        for index in range(len(names))
    }
    estimates = estimate_all(statistics, len(truth), resamples=resamples, seed=seed)
    return tuple(
        _errors(
            outcome,
            outcomes.all[0],
            error,
            [estimates[f"{place} {index}"] for index in range(len(names))],
            names,
        )
        for place, (outcome, error) in enumerate(zip(outcomes.all, errors, strict=True))
    )


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


def _errors(
    outcome: Outcome,
    eager: Outcome,
    error: NDArray[np.float64],
    estimates: list[list[Estimate]],
    names: tuple[str, ...],
) -> GraphErrors:
    difference = np.abs(outcome.outputs["prediction"].astype(np.float64) - eager.outputs["prediction"]).max()
    return GraphErrors(
        graph=outcome.graph,
        provider=outcome.provider,
        rows=len(error),
        mean_absolute_error=float(np.abs(error).mean()),
        root_mean_squared_error=float(np.sqrt(np.mean(np.square(error)))),
        max_absolute_error=float(np.abs(error).max()),
        max_difference_to_eager=None if outcome is eager else float(difference),
        duration_s=outcome.duration_s,
        size_bytes=outcome.size_bytes,
        targets=errors_of_targets(names, error, estimates),
    )
