"""What few rows say about the test loss: one validation split, K folds, and the training loss itself."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from train.studies.cubic import Array, fit_polynomial, make_cubic, squared_error
from train.studies.result import Cell, Curve, StudyResult, as_verdict

ROWS, FOLDS, TEST = 40, 5, 5000
DEGREES = tuple(range(1, 9))


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:  # noqa: ARG001 - every study takes the same
    """Estimate the test loss of each degree in three ways, over many small data sets."""
    seeds = range(20 if quick else 200)
    ways = {"training loss": _training_loss, f"one fifth of {ROWS} held out": _held_out, f"{FOLDS} folds": _folds}
    estimates: dict[str, list[list[float]]] = {way: [] for way in ways}
    truths: list[list[float]] = []
    for seed in seeds:
        generator = np.random.default_rng(seed)
        x, y = make_cubic(ROWS, generator)
        test = make_cubic(TEST, generator)
        truths.append([squared_error(fit_polynomial(x, y, degree), *test) for degree in DEGREES])
        for way, estimate in ways.items():
            estimates[way].append([estimate(x, y, degree) for degree in DEGREES])
    rows: list[tuple[Cell, ...]] = []
    distances, costs = [], []
    for found in estimates.values():
        distances.append(float(np.mean(np.abs(np.log(np.array(found) / np.array(truths))))))
        chosen = [int(np.argmin(row)) for row in found]
        costs.append(median(truth[index] / min(truth) for truth, index in zip(truths, chosen, strict=True)))
    for way, distance, cost in zip(ways, distances, costs, strict=True):
        rows.append((way, float(np.exp(distance)), cost))
    factors = [float(np.exp(distance)) for distance in distances]
    return StudyResult(
        title=f"Estimates of the test loss from {ROWS} rows: {len(seeds)} data sets, degrees 1 to {DEGREES[-1]}",
        claim="Where data is scarce, the mean over K disjoint folds stands in for a validation set.",
        columns=("estimate from", "off by a factor of", "loss of the choice / of the best"),
        rows=tuple(rows),
        finding=(
            f"{FOLDS} folds are off by a factor of {factors[2]:.2f} in the mean, one held-out fifth by "
            f"{factors[1]:.2f}, the training loss by {factors[0]:.2f}; the degree that folds choose costs "
            f"{costs[2]:.2f} of the best one's loss, that of the training loss {costs[0]:.2f}."
        ),
        verdict=as_verdict(factors[2] < factors[1], costs[2] <= costs[0]),
        curves=(
            Curve(label="true test loss", x=DEGREES, y=_medians(truths)),
            *(Curve(label=way, x=DEGREES, y=_medians(found)) for way, found in estimates.items()),
        ),
        axes=("degree", "mean squared error, median"),
        log_scale=(False, True),
    )


def split_folds(rows: int, folds: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield a training and a validation mask for each fold; every row is validated exactly once.

    Raises:
        ValueError: there are fewer than two folds, or more than rows.
    """
    if not 2 <= folds <= rows:
        raise ValueError(f"folds is {folds}, but from 2 to the {rows} rows were expected")
    fold = np.arange(rows) * folds // rows
    for index in range(folds):
        yield fold != index, fold == index


def _training_loss(x: Array, y: Array, degree: int) -> float:
    return squared_error(fit_polynomial(x, y, degree), x, y)


def _held_out(x: Array, y: Array, degree: int) -> float:
    return next(_validation_losses(x, y, degree))


def _folds(x: Array, y: Array, degree: int) -> float:
    return float(np.mean(list(_validation_losses(x, y, degree))))


def _validation_losses(x: Array, y: Array, degree: int) -> Iterator[float]:
    for train, validation in split_folds(len(x), FOLDS):
        yield squared_error(fit_polynomial(x[train], y[train], degree), x[validation], y[validation])


def _medians(rows: list[list[float]]) -> tuple[float, ...]:
    return tuple(median(column) for column in zip(*rows, strict=True))
