"""Every figure of accuracy against torchmetrics, on made-up and on real outputs; where the two differ, and why."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from evaluate.accuracy.classes import score_classes, top_k
from evaluate.accuracy.errors import errors_statistic
from evaluate.accuracy.measure import figures_of
from evaluate.accuracy.probabilities import BINS, auc_statistic, score_statistic
from evaluate.accuracy.record import GraphAccuracy
from evaluate.accuracy.run import run_samples
from evaluate.compare import decide
from serve.bundle import read_bundle

with warnings.catch_warnings():  # of what it imports, setuptools' pkg_resources among them
    warnings.simplefilter("ignore")
    from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, R2Score
    from torchmetrics.classification import (
        BinaryAUROC,
        MulticlassAccuracy,
        MulticlassCalibrationError,
        MulticlassConfusionMatrix,
        MulticlassF1Score,
        MulticlassPrecision,
        MulticlassRecall,
    )

CLOSE = 1e-6
ROWS = 500


def by_torchmetrics(metric: Metric, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return a metric of all rows, given in several batches as its users do."""
    metric = metric.set_dtype(torch.float64)
    for start in range(0, len(truth), 128):
        rows = slice(start, start + 128)
        metric.update(torch.from_numpy(predicted[rows]), torch.from_numpy(truth[rows]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without rows
        return metric.compute().double().numpy()


def made(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, float32, and true classes that they tell in part."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, ROWS)
    logits = rng.normal(0, 1, (ROWS, classes))
    logits[np.arange(ROWS), truth] += 1
    return logits.astype(np.float32), truth


def briers(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean squared error of all probabilities, summed over the classes instead of averaged."""
    classes = probabilities.shape[1]
    one_hot = np.eye(classes)[truth]
    return classes * float(by_torchmetrics(MeanSquaredError(), probabilities.reshape(-1), one_hot.reshape(-1)))


@pytest.mark.parametrize("classes", [3, 7, 40])
@pytest.mark.parametrize("seed", range(3))
def test_decisions(classes: int, seed: int) -> None:
    logits, truth = made(classes, seed)
    decided = decide(logits)
    confusion = by_torchmetrics(MulticlassConfusionMatrix(classes), logits, truth).astype(np.int64)
    assert np.trace(confusion) / ROWS == pytest.approx(
        float(by_torchmetrics(MulticlassAccuracy(classes, average="micro"), logits, truth)), abs=CLOSE
    )
    assert np.trace(confusion) == (decided == truth).sum()
    found = top_k(logits, truth, np.ones(ROWS, np.bool_))
    assert found is not None
    top = MulticlassAccuracy(classes, top_k=found.k, average="micro")
    assert found.accuracy == pytest.approx(float(by_torchmetrics(top, logits, truth)), abs=CLOSE)
    scores, macro = score_classes(
        confusion, np.bincount(truth, minlength=classes), [str(i) for i in range(classes)], resamples=100, seed=0
    )
    for name, metric in (("precision", MulticlassPrecision), ("recall", MulticlassRecall), ("f1", MulticlassF1Score)):
        each = by_torchmetrics(metric(classes, average=None), logits, truth)
        values = [getattr(one, name).value for one in scores]
        assert [0.0 if value is None else value for value in values] == pytest.approx(list(each), abs=CLOSE)
        mean = float(by_torchmetrics(metric(classes, average="macro"), logits, truth))
        assert getattr(macro, name).value == pytest.approx(mean, abs=CLOSE)


def test_a_class_that_nobody_has_is_undefined_here_and_nothing_there() -> None:
    """torchmetrics gives 0, and counts a class in the mean as soon as it is predicted; here it needs rows."""
    truth, decided = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 2, 1, 1, 0])
    logits = np.eye(4, dtype=np.float32)[decided]
    confusion = by_torchmetrics(MulticlassConfusionMatrix(4), logits, truth).astype(np.int64)
    scores, macro = score_classes(confusion, np.bincount(truth, minlength=4), "abcd", resamples=100, seed=0)
    recalls = by_torchmetrics(MulticlassRecall(4, average=None), logits, truth)
    assert [one.recall.value for one in scores] == [pytest.approx(2 / 3), pytest.approx(2 / 3), None, None]
    assert list(recalls) == pytest.approx([2 / 3, 2 / 3, 0, 0])
    assert (scores[2].precision.value, scores[3].precision.value) == (0, None)
    assert macro.recall.value == pytest.approx(2 / 3)
    counted = float(by_torchmetrics(MulticlassRecall(4, average="macro"), logits, truth))
    assert counted == pytest.approx(4 / 9), "of a, b and c; d is in no row, predicted or true"


def test_of_equal_logits_the_first_is_the_greater_here_and_any_there() -> None:
    logits, truth = np.zeros((7, 7), np.float32), np.arange(7)
    found = top_k(logits, truth, np.ones(7, np.bool_))
    assert found is not None
    assert found.correct == 5
    assert list(decide(logits)) == [0] * 7
    there = by_torchmetrics(MulticlassAccuracy(7, top_k=5, average="micro"), logits, truth)
    assert float(there) == pytest.approx(5 / 7, abs=CLOSE), "some five of the seven, whichever they are"


@pytest.mark.parametrize("classes", [3, 7, 40])
def test_probabilities(classes: int) -> None:
    logits, truth = made(classes)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    error, brier, _ = score_statistic(logits, probabilities, truth)(np.ones((1, ROWS)))[0]
    there = MulticlassCalibrationError(classes, n_bins=BINS, norm="l1")
    assert error == pytest.approx(float(by_torchmetrics(there, probabilities, truth)), abs=CLOSE)
    assert brier == pytest.approx(briers(probabilities, truth), abs=CLOSE)


def test_probabilities_of_two_classes() -> None:
    """As one logit; torchmetrics is given both probabilities, since of one it calibrates that of the second class."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, ROWS)
    logits = (2 * truth - 1 + rng.normal(0, 1.5, ROWS)).astype(np.float32)[:, np.newaxis]
    second = expit(logits.astype(np.float64))
    both = np.column_stack([1 - second, second])
    error, brier, _ = score_statistic(logits, second, truth)(np.ones((1, ROWS)))[0]
    there = MulticlassCalibrationError(2, n_bins=BINS, norm="l1")
    assert error == pytest.approx(float(by_torchmetrics(there, both, truth)), abs=CLOSE)
    assert brier == pytest.approx(briers(both, truth) / 2, abs=CLOSE), "of two classes, that of one of them"
    tied = np.round(logits, 1)
    auc = auc_statistic(tied, truth)(np.ones((1, ROWS)))[0, 0]
    assert len(np.unique(tied)) < ROWS / 2
    there = float(by_torchmetrics(BinaryAUROC(), expit(tied[:, 0].astype(np.float64)), truth))
    assert auc == pytest.approx(there, abs=CLOSE)


def test_a_probability_on_an_edge_is_below_it_here_and_above_it_there() -> None:
    """Bins are (low, high] here, [low, high) there; only what lies on an edge exactly can tell."""
    probabilities = np.array([[0.8, 0.2], [0.75, 0.25]])
    logits, truth = np.log(probabilities), np.array([0, 1])
    error = score_statistic(logits, probabilities, truth)(np.ones((1, 2)))[0, 0]
    there = float(by_torchmetrics(MulticlassCalibrationError(2, n_bins=BINS, norm="l1"), probabilities, truth))
    together, apart = abs(0.5 - 0.775), (0.2 + 0.75) / 2
    assert error == pytest.approx(together)
    assert there == pytest.approx(apart)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_errors(offset: float) -> None:
    rng = np.random.default_rng(0)
    truth = offset + rng.normal(0, 3, ROWS)
    predicted = truth + rng.normal(0.1, 1, ROWS)
    figures = errors_statistic(predicted - truth, truth)(np.ones((1, ROWS)))[0]
    metrics = (MeanAbsoluteError(), MeanSquaredError(squared=False), R2Score())
    assert list(figures) == pytest.approx([float(by_torchmetrics(one, predicted, truth)) for one in metrics], abs=CLOSE)


@pytest.fixture(scope="module")
def real(digits_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[GraphAccuracy, dict, np.ndarray]:
    """What is reported of the digits' graph, what it gave, and the truth."""
    outcomes = run_samples(
        read_bundle(digits_bundle), data_root=tmp_path_factory.mktemp("none"), graphs=("graph.onnx",)
    )
    return figures_of(outcomes, resamples=100).graphs[1], outcomes.all[1].outputs, outcomes.labelled.truth


def test_real_outputs(real: tuple[GraphAccuracy, dict, np.ndarray]) -> None:
    found, outputs, truth = real
    logits, probabilities = outputs["logits"], outputs["probabilities"].astype(np.float64)
    assert found.confusion == tuple(
        tuple(row) for row in by_torchmetrics(MulticlassConfusionMatrix(10), logits, truth).astype(int).tolist()
    )
    scores = found.probabilities
    assert scores is not None
    assert found.top_k is not None
    calibration = MulticlassCalibrationError(10, n_bins=BINS, norm="l1")
    for value, metric, given in (
        (found.top1_accuracy, MulticlassAccuracy(10, average="micro"), logits),
        (found.top_k.accuracy, MulticlassAccuracy(10, top_k=5, average="micro"), logits),
        (found.macro.precision.value, MulticlassPrecision(10), logits),
        (found.macro.recall.value, MulticlassRecall(10), logits),
        (found.macro.f1.value, MulticlassF1Score(10), logits),
        (scores.expected_calibration_error.value, calibration, probabilities),
    ):
        assert value == pytest.approx(float(by_torchmetrics(metric, given, truth)), abs=CLOSE), type(metric).__name__
    assert scores.brier.value == pytest.approx(briers(probabilities, truth), abs=CLOSE)
