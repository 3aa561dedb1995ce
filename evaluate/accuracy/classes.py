"""Figures of the decisions: top-k, precision, recall and F1 of each class, and their means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.accuracy.record import ClassScores, Estimate, MacroScores, TopK
from evaluate.accuracy.resample import as_estimates
from evaluate.compare import interval

TOP = 5
_AT_ONCE = 2**22


def top_k(logits: NDArray[Any], class_index: NDArray[np.int64], finite: NDArray[np.bool_]) -> TopK | None:
    """Count how often the true class is among the 5 greatest logits, or all but one of fewer classes.

    Args:
        logits: ``(rows, classes)``.
        class_index: True classes, ``(rows,)``.
        finite: Rows that can be right, ``(rows,)``.

    Returns:
        None for two classes or one logit. Of equal logits the first counts as the greater, as for top-1.
    """
    k = min(TOP, logits.shape[1] - 1)
    if k < 2:
        return None
    true = logits[np.arange(len(logits)), class_index][:, np.newaxis]
    earlier = np.arange(logits.shape[1]) < class_index[:, np.newaxis]
    before = (logits > true).sum(axis=1) + ((logits == true) & earlier).sum(axis=1)
    correct, rows = int(((before < k) & finite).sum()), len(logits)
    return TopK(k=k, correct=correct, accuracy=correct / rows, interval_95=interval(correct, rows))


def batch_mean(right: NDArray[np.bool_], batch_size: int) -> float:
    """Return the mean of the batches' accuracies; the short last batch counts like a full one."""
    parts = [right[start : start + batch_size].mean() for start in range(0, len(right), batch_size)]
    return float(np.mean(parts))


def score_classes(
    confusion: NDArray[np.int64],
    support: NDArray[np.int64],
    labels: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> tuple[tuple[ClassScores, ...], MacroScores]:
    """Return the figures of each class, and their means.

    Args:
        confusion: How many rows of each true class were taken for each, ``(classes, classes)``.
        support: Rows of each true class, ``(classes,)``; where outputs are not finite, more than were taken for any.
        labels: Of the classes.
        resamples: To draw rows with replacement is to draw their cells of the confusions: one multinomial each.
        seed: Decides them.
    """
    right, predicted = np.diag(confusion), confusion.sum(axis=0)
    scores, macro = _resampled(confusion, support, resamples, seed)
    classes = len(labels)
    f1 = as_estimates(_scores(right, support, predicted)[2], scores)
    means = as_estimates(_means(right[np.newaxis], support[np.newaxis], predicted[np.newaxis])[0], macro)
    return tuple(
        ClassScores(
            label=labels[index],
            support=int(support[index]),
            predicted=int(predicted[index]),
            precision=_exact(int(right[index]), int(predicted[index])),
            recall=_exact(int(right[index]), int(support[index])),
            f1=f1[index],
        )
        for index in range(classes)
    ), MacroScores(precision=means[0], recall=means[1], f1=means[2])


def _exact(events: int, trials: int) -> Estimate:
    if trials == 0:
        return Estimate(value=None, interval_95=None)
    return Estimate(value=events / trials, interval_95=interval(events, trials))


def _resampled(
    confusion: NDArray[np.int64], support: NDArray[np.int64], resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return F1 of each class ``(resamples, classes)`` and the means of the three scores ``(resamples, 3)``."""
    classes = len(support)
    lost = support - confusion.sum(axis=1)  # rows that were taken for nothing: one more column
    table = np.concatenate([confusion, lost[:, np.newaxis]], axis=1)
    truth, taken = np.nonzero(table)
    rng, shares = np.random.default_rng(seed), table[truth, taken] / table.sum()
    order, diagonal = np.argsort(taken, kind="stable"), truth == taken
    f1, macro = [], []
    step = max(1, _AT_ONCE // max(len(shares), classes))
    for start in range(0, resamples, step):
        drawn = rng.multinomial(table.sum(), shares, size=min(step, resamples - start))
        right = np.zeros((len(drawn), classes))
        right[:, truth[diagonal]] = drawn[:, diagonal]
        counts = right, _sum_by(drawn, truth, classes), _sum_by(drawn[:, order], taken[order], classes + 1)[:, :-1]
        f1.append(_scores(*counts)[2])
        macro.append(_means(*counts))
    return np.concatenate(f1), np.concatenate(macro)


def _sum_by(counts: NDArray[np.int64], group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
    """Sum counts ``(resamples, cells)`` of cells that are sorted by group into ``(resamples, groups)``."""
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    sums = np.zeros((len(counts), groups))
    sums[:, group[starts]] = np.add.reduceat(counts, starts, axis=1)
    return sums


def _scores(
    right: NDArray[Any], support: NDArray[Any], predicted: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return precision, recall and F1; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore"):
        return right / predicted, right / support, 2 * right / (predicted + support)


def _means(right: NDArray[Any], support: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """Return the scores' means over classes with rows, ``(resamples, 3)``; 0 counts where nothing is predicted."""
    there = support > 0
    sums = [np.where(there, np.nan_to_num(score), 0).sum(axis=1) for score in _scores(right, support, predicted)]
    return np.asarray(np.stack(sums, axis=1) / there.sum(axis=1, keepdims=True))
