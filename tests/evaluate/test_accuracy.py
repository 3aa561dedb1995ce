"""Every figure of accuracy against another implementation, on the rows themselves and on weighted ones."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import bootstrap
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
    top_k_accuracy_score,
)

from evaluate.accuracy.cells import on_line, share
from evaluate.accuracy.classes import batch_mean, score_classes, top_k
from evaluate.accuracy.errors import errors_of_targets, errors_statistic
from evaluate.accuracy.probabilities import (
    BINS,
    auc_statistic,
    confidence_bins,
    confidences,
    error_if_calibrated,
    score_statistic,
)
from evaluate.accuracy.resample import draw_weights, estimate_all, percentiles
from evaluate.compare import interval
from serve.decisions import decide
from train.reproduction.by_batch import share_of_one_answer

ROWS, CLASSES = 400, 7
LABELS = tuple("abcdefg")
ALL = np.ones(ROWS, dtype=np.bool_)


def made(classes: int = CLASSES, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits, probabilities, both float32, and true classes that the logits tell in part."""
    rng = np.random.default_rng(seed)
    class_index = rng.integers(0, classes, ROWS)
    if classes == 2:
        logits = (2 * class_index[:, np.newaxis] - 1 + rng.normal(0, 1.5, (ROWS, 1))).astype(np.float32)
        logits = np.round(logits, 1)  # so that some tie
        return logits, expit(logits), class_index
    logits = rng.normal(0, 1, (ROWS, classes))
    logits[np.arange(ROWS), class_index] += 1.5
    logits = logits.astype(np.float32)
    return logits, softmax(logits, axis=1), class_index


def weightings() -> list[np.ndarray]:
    return [np.ones((1, ROWS)), draw_weights(np.random.default_rng(1), ROWS, 1)]


@pytest.mark.parametrize("classes", [2, CLASSES])
@pytest.mark.parametrize("weights", weightings(), ids=["each once", "resampled"])
def test_probabilities(classes: int, weights: np.ndarray) -> None:
    logits, probabilities, class_index = made(classes)
    error, brier, loss = score_statistic(logits, probabilities, class_index)(weights)[0]
    given = probabilities[:, 0] if classes == 2 else probabilities
    wide = np.column_stack([1 - given, given]).astype(np.float64) if classes == 2 else given.astype(np.float64)
    assert brier == pytest.approx(brier_score_loss(class_index, given, sample_weight=weights[0]), rel=1e-5)
    exact = softmax(np.column_stack([np.zeros(ROWS), logits[:, 0]]) if classes == 2 else logits.astype(float), axis=1)
    assert loss == pytest.approx(log_loss(class_index, exact, sample_weight=weights[0]), rel=1e-9)
    again = np.repeat(np.arange(ROWS), weights[0].astype(int))  # calibration_curve takes no weights
    decided = decide(logits)  # of a tie, the second class
    right, sure = (decided == class_index)[again], wide.max(axis=1)[again]
    shares, means = calibration_curve(right, sure, n_bins=BINS)
    counts = np.histogram(sure, np.linspace(0, 1, BINS + 1))[0]
    assert error == pytest.approx((np.abs(shares - means) * counts[counts > 0]).sum() / len(again), rel=1e-5)


@pytest.mark.parametrize("weights", weightings(), ids=["each once", "resampled"])
def test_area_under_the_curve_with_ties(weights: np.ndarray) -> None:
    logits, _, class_index = made(2)
    assert len(np.unique(logits)) < ROWS / 2
    expected = roc_auc_score(class_index, logits[:, 0], sample_weight=weights[0])
    assert auc_statistic(logits, class_index)(weights)[0, 0] == pytest.approx(expected, rel=1e-12)
    both = np.column_stack([np.zeros(ROWS), logits[:, 0]])
    assert auc_statistic(both, class_index)(weights)[0, 0] == pytest.approx(expected, rel=1e-12)


def test_area_under_the_curve_of_one_class_is_undefined() -> None:
    logits, _, _ = made(2)
    statistic = auc_statistic(logits, np.ones(ROWS, np.int64))
    found = estimate_all({"auc": statistic}, ROWS, resamples=100, seed=0)["auc"][0]
    assert (found.value, found.interval_95) == (None, None)


def test_bins() -> None:
    logits, probabilities, class_index = made()
    sure, right = confidences(probabilities, decide(logits)), decide(logits) == class_index
    bins = confidence_bins(sure, right)
    assert sum(one.rows for one in bins) == ROWS
    shares, means = calibration_curve(right, sure, n_bins=BINS)
    filled = [one for one in bins if one.rows]
    assert [one.accuracy.value for one in filled] == pytest.approx(list(shares))
    assert [one.confidence for one in filled] == pytest.approx(list(means))
    assert filled[0].accuracy.interval_95 == interval(round(shares[0] * filled[0].rows), filled[0].rows)
    edge = confidence_bins(np.array([0.0, 0.2, 0.2001, 1.0]), np.array([True] * 4))
    assert [index for index, one in enumerate(edge) for _ in range(one.rows)] == [0, 2, 3, 14]


def test_calibration_tells_an_overconfident_model_from_a_calibrated_one() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2000, 4)).astype(np.float32)
    probabilities = softmax(logits, axis=1)
    class_index = (rng.random((2000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    found = []
    for factor in (1, 3):
        scaled, sharp = factor * logits, softmax(factor * logits, axis=1)
        error = score_statistic(scaled, sharp, class_index)(np.ones((1, 2000)))[0, 0]
        found.append((error, error_if_calibrated(confidences(sharp, decide(scaled)), resamples=300, seed=0)))
    assert found[0][0] < found[0][1]
    assert found[1][0] > 5 * found[1][1]


def test_classes() -> None:
    logits, _, class_index = made()
    decided = decide(logits)
    decided[decided == 6] = 0  # nothing is taken for the last
    counts = confusion_matrix(class_index, decided, labels=range(CLASSES))
    classes, macro = score_classes(counts, np.bincount(class_index), LABELS, resamples=200, seed=0)
    kwargs = {"labels": range(CLASSES), "zero_division": np.nan}
    precision, recall, f1, support = precision_recall_fscore_support(class_index, decided, **kwargs)
    assert [one.support for one in classes] == list(support)
    assert [one.recall.value for one in classes] == pytest.approx(list(recall))
    assert [one.f1.value for one in classes] == pytest.approx(list(f1))
    assert [one.precision.value for one in classes[:-1]] == pytest.approx(list(precision[:-1]))
    assert (classes[-1].precision.value, classes[-1].precision.interval_95) == (None, None)
    assert classes[0].recall.interval_95 == interval(counts[0, 0], counts[0].sum())
    assert classes[0].precision.interval_95 == interval(counts[0, 0], counts[:, 0].sum())
    means = precision_recall_fscore_support(class_index, decided, average="macro", zero_division=0)[:3]
    assert [macro.precision.value, macro.recall.value, macro.f1.value] == pytest.approx(list(means))
    assert (classes[-1].f1.value, classes[-1].f1.interval_95) == (0.0, None)
    for one in (*(of.f1 for of in classes[:-1]), macro.precision, macro.recall, macro.f1):
        assert one.interval_95[0] <= one.value <= one.interval_95[1]


def test_where_all_resamples_are_the_same_there_is_no_interval() -> None:
    right = np.array([[36, 0], [0, 20]])
    classes, macro = score_classes(right, right.sum(axis=1), ("a", "b"), resamples=100, seed=0)
    assert classes[0].recall.interval_95 == interval(36, 36)
    for one in (*(of.f1 for of in classes), macro.precision, macro.recall, macro.f1):
        assert (one.value, one.interval_95) == (1.0, None)
        assert (on_line(one), share(one)) == ("100.0", "100.00 %")
    other = np.array([[35, 1], [0, 20]])
    classes, macro = score_classes(other, other.sum(axis=1), ("a", "b"), resamples=100, seed=0)
    assert None not in (classes[0].f1.interval_95, macro.f1.interval_95)
    assert percentiles(np.array([np.nan, 0.1 + 0.2, 0.3])) is None
    assert percentiles(np.zeros(100)) is None
    assert percentiles(np.array([0.3, 0.3001])) is not None


def test_a_class_without_samples_has_no_recall_and_does_not_count() -> None:
    counts = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    classes, macro = score_classes(counts, counts.sum(axis=1), ("a", "b", "c"), resamples=100, seed=0)
    assert (classes[2].recall.value, classes[2].precision.value, classes[2].f1.value) == (None, None, None)
    assert macro.recall.value == pytest.approx(0.85)


def test_rows_that_are_taken_for_nothing_are_wrong() -> None:
    """Outputs that are not finite: in no column, but in the support."""
    counts = np.array([[8, 0], [0, 8]])
    classes, macro = score_classes(counts, np.array([10, 8]), ("a", "b"), resamples=100, seed=0)
    assert classes[0].recall.value == 0.8
    assert macro.recall.value == pytest.approx(0.9)
    assert macro.recall.interval_95[0] < 0.9
    logits = np.zeros((2, 3), np.float32)
    assert top_k(logits, np.array([0, 0]), np.array([True, False])).correct == 1


@pytest.mark.parametrize(("classes", "k"), [(3, 2), (CLASSES, 5)])
def test_top_k(classes: int, k: int) -> None:
    logits, _, class_index = made(classes)
    found = top_k(logits, class_index, ALL)
    assert (found.k, found.accuracy) == (k, top_k_accuracy_score(class_index, logits, k=k))
    assert found.interval_95 == interval(found.correct, ROWS)


def test_top_k_of_ties_takes_the_first_as_top_1_does() -> None:
    logits = np.zeros((CLASSES, CLASSES), np.float32)
    assert top_k(logits, np.arange(CLASSES), ALL[:CLASSES]).correct == 5
    assert top_k(logits[:, :1], np.zeros(CLASSES, np.int64), ALL[:CLASSES]) is None
    assert top_k(logits[:, :2], np.zeros(CLASSES, np.int64), ALL[:CLASSES]) is None


def test_the_mean_over_batches_is_that_of_the_notes() -> None:
    """75 photos in the order of their classes, all called steak: the notes print 0.1979, and it is 0.2533."""
    class_index = np.repeat([0, 1, 2], [25, 19, 31])
    expected, share = share_of_one_answer(torch.from_numpy(class_index), 1)
    assert batch_mean(class_index == 1, 32) == pytest.approx(expected)
    assert round(expected, 4) == 0.1979
    assert batch_mean(class_index == 1, 75) == pytest.approx(share)


@pytest.mark.parametrize("weights", weightings(), ids=["each once", "resampled"])
def test_errors_of_a_target(weights: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(1e4, 3, ROWS)
    predicted = truth + rng.normal(0.1, 1, ROWS)
    figures = errors_statistic(predicted - truth, truth)(weights)[0]
    metrics = (mean_absolute_error, root_mean_squared_error, r2_score)
    expected = [metric(truth, predicted, sample_weight=weights[0]) for metric in metrics]
    assert list(figures) == pytest.approx(expected, rel=1e-9)


def test_the_greatest_error_says_how_rare_greater_ones_are() -> None:
    error = np.linspace(-1, 2, 59)[:, np.newaxis]
    statistic = errors_statistic(error[:, 0], error[:, 0])
    estimates = estimate_all({"0": statistic}, 59, resamples=100, seed=0)
    (target,) = errors_of_targets(("price",), error, [estimates["0"]])
    assert target.max_absolute_error == 2
    assert target.beyond_max_upper_95 == pytest.approx(1 - 0.05 ** (1 / 59))


def test_intervals_are_those_of_another_bootstrap() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 3, ROWS)
    error = rng.gamma(2, 1, ROWS)
    found = estimate_all({"0": errors_statistic(error, truth)}, ROWS, resamples=4000, seed=0)["0"]
    for place, metric in ((0, np.mean), (1, lambda values, axis: np.sqrt(np.mean(np.square(values), axis=axis)))):
        other = bootstrap((error,), metric, n_resamples=4000, method="percentile", rng=1).confidence_interval
        width = other.high - other.low
        assert found[place].interval_95 == pytest.approx((other.low, other.high), abs=0.06 * width)


def test_scores_of_cells_are_resampled_as_those_of_rows() -> None:
    logits, _, class_index = made(3)
    decided = decide(logits)
    counts = confusion_matrix(class_index, decided)
    classes, macro = score_classes(counts, counts.sum(axis=1), LABELS[:3], resamples=3000, seed=0)
    rng, drawn = np.random.default_rng(5), []
    for _ in range(1500):
        rows = rng.integers(0, ROWS, ROWS)
        table = np.bincount(3 * class_index[rows] + decided[rows], minlength=9).reshape(3, 3)
        drawn.append(2 * np.diag(table) / (table.sum(axis=0) + table.sum(axis=1)))
    for found, column in (*((classes[c].f1, np.array(drawn)[:, c]) for c in range(3)), (macro.f1, np.mean(drawn, 1))):
        low, high = percentiles(column)
        assert found.interval_95 == pytest.approx((low, high), abs=0.1 * (high - low))


def test_the_seed_decides_the_resamples() -> None:
    logits, probabilities, class_index = made()
    statistics = {name: score_statistic(logits, probabilities, class_index) for name in "ab"}
    first = estimate_all(statistics, ROWS, resamples=100, seed=0)
    assert first["a"] == first["b"]
    assert first == estimate_all(statistics, ROWS, resamples=100, seed=0)
    assert first != estimate_all(statistics, ROWS, resamples=100, seed=1)
    assert [one.value for one in first["a"]] == [
        one.value for one in estimate_all(statistics, ROWS, resamples=100, seed=1)["a"]
    ]
