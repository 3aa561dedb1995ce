"""Figures of the probabilities: calibration, Brier score, log loss, and the area under the ROC curve."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from evaluate.accuracy.record import ConfidenceBin, Estimate, Probabilities
from evaluate.accuracy.resample import Statistic
from evaluate.compare import CONFIDENCE, interval
from serve.decisions import decide

BINS = 15
_AT_ONCE = 2**22


def confidences(probabilities: NDArray[Any], decided: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability of each row's predicted class, ``(rows,)``."""
    if probabilities.shape[1] == 1:
        return np.where(decided == 1, probabilities[:, 0], 1 - probabilities[:, 0].astype(np.float64))
    return probabilities[np.arange(len(probabilities)), decided].astype(np.float64)


def briers(probabilities: NDArray[Any], class_index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each row's squared error, summed over the classes; of two classes, that of one, ``(rows,)``."""
    errors = _wide(probabilities)
    errors[np.arange(len(errors)), class_index] -= 1
    squares = np.square(errors).sum(axis=1)
    return np.asarray(squares / 2 if errors.shape[1] == 2 else squares)


def log_losses(logits: NDArray[Any], class_index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return -log(probability of the true class) of each row in float64, ``(rows,)``.

    From the logits: in float32, a probability above 1 - 6e-8 is 1, and nothing is left for the other classes.
    """
    wide = logits.astype(np.float64)
    if wide.shape[1] == 1:
        wide = np.concatenate([np.zeros_like(wide), wide], axis=1)
    return np.asarray(logsumexp(wide, axis=1) - wide[np.arange(len(wide)), class_index])


def bin_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each row, ``(rows,)``; a value on an edge belongs below it."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def score_statistic(logits: NDArray[Any], probabilities: NDArray[Any], class_index: NDArray[np.int64]) -> Statistic:
    """Make the statistic of calibration error, Brier score and log loss, in this order."""
    decided = decide(logits)
    confidence = confidences(probabilities, decided)
    gaps = np.zeros((len(logits), BINS))
    gaps[np.arange(len(logits)), bin_of(confidence)] = (decided == class_index) - confidence
    columns = np.column_stack([briers(probabilities, class_index), log_losses(logits, class_index), gaps])

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = weights @ columns / weights.sum(axis=1, keepdims=True)
        return np.column_stack([np.abs(sums[:, 2:]).sum(axis=1), sums[:, 0], sums[:, 1]])

    return statistic


def auc_statistic(logits: NDArray[Any], class_index: NDArray[np.int64]) -> Statistic:
    """Make the statistic of the area under the ROC curve; undefined where one of two classes has no row.

    Args:
        logits: Of the second class, or of both, ``(rows, 1 or 2)``.
        class_index: 0 or 1, ``(rows,)``.
    """
    wide = logits.astype(np.float64)
    margin = wide[:, 0] if wide.shape[1] == 1 else wide[:, 1] - wide[:, 0]
    order = np.argsort(margin, kind="stable")
    ordered, positive = margin[order], class_index[order] == 1
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))  # of rows that tie

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn = weights[:, order]
        of_one = np.add.reduceat(np.where(positive, drawn, 0), starts, axis=1)
        of_zero = np.add.reduceat(np.where(positive, 0, drawn), starts, axis=1)
        below = np.cumsum(of_zero, axis=1) - of_zero / 2  # a tie counts half
        pairs = of_one.sum(axis=1, keepdims=True) * of_zero.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.asarray((of_one * below).sum(axis=1, keepdims=True) / pairs)

    return statistic


def put_together(
    scores: list[Estimate],
    auc: list[Estimate],
    *,
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    resamples: int,
    seed: int,
) -> Probabilities:
    """Put the figures of `score_statistic` and `auc_statistic` together with the bins.

    Args:
        scores: Of `score_statistic`.
        auc: Of `auc_statistic`, or none for more than two classes.
        confidence: Probability of each row's predicted class, ``(rows,)``.
        right: Whether that is the true one, ``(rows,)``.
        resamples: Calibrated models that are made up.
        seed: Decides what they get right.
    """
    return Probabilities(
        expected_calibration_error=scores[0],
        if_calibrated_95=error_if_calibrated(confidence, resamples=resamples, seed=seed),
        brier=scores[1],
        log_loss=scores[2],
        roc_auc=auc[0] if auc else None,
        bins=confidence_bins(confidence, right),
    )


def confidence_bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[ConfidenceBin, ...]:
    """Return what the reliability diagram shows."""
    bins = []
    for index in range(BINS):
        here = bin_of(confidence) == index
        rows, correct = int(here.sum()), int(right[here].sum())
        bins.append(
            ConfidenceBin(
                low=index / BINS,
                high=(index + 1) / BINS,
                rows=rows,
                confidence=float(confidence[here].mean()) if rows else None,
                accuracy=Estimate(
                    value=correct / rows if rows else None, interval_95=interval(correct, rows) if rows else None
                ),
            )
        )
    return tuple(bins)


def error_if_calibrated(confidence: NDArray[np.float64], *, resamples: int, seed: int) -> float:
    """Return below which calibration error 95 % of models stay that are right exactly as often as they are sure."""
    rng, rows, errors = np.random.default_rng(seed), len(confidence), []
    into = np.equal.outer(bin_of(confidence), np.arange(BINS)).astype(np.float64)
    step = max(1, _AT_ONCE // rows)
    for start in range(0, resamples, step):
        right = rng.random((min(step, resamples - start), rows)) < confidence
        errors.append(np.abs((right - confidence) @ into).sum(axis=1) / rows)
    return float(np.quantile(np.concatenate(errors), CONFIDENCE))


def _wide(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return probabilities of every class in float64; a single one is that of the second."""
    wide = probabilities.astype(np.float64)
    return np.concatenate([1 - wide, wide], axis=1) if wide.shape[1] == 1 else wide
