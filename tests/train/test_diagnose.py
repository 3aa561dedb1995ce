"""Diagnoses: each verdict from curves made for it, both sides of its bound, and the runs that the notes call so."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from tests.train.histories import Quiet, make_history
from train.device import choose_device
from train.diagnose import REMEDIES, Diagnosis, Verdict, diagnose, diagnose_run
from train.fit import fit
from train.recipes.registry import RECIPES

EPOCHS = range(20)
FALLING = [2 * math.exp(-epoch / 10) for epoch in EPOCHS]
SETTLED = [0.3 + 1.7 * math.exp(-epoch) for epoch in EPOCHS]
RISING = [0.3 + 1.7 * math.exp(-epoch) + max(0, epoch - 5) * 0.01 for epoch in EPOCHS]


def classify(train: Sequence[float], test: Sequence[float], accuracy: float = 0.9, **keywords: object) -> Diagnosis:
    history = make_history(train, test, accuracy=accuracy, test_accuracy=keywords.pop("test_accuracy", None))
    return diagnose(history, task="classification", chance=0.1, **keywords)


def regress(train: Sequence[float], test: Sequence[float]) -> Diagnosis:
    return diagnose(make_history(train, test), task="regression")


@pytest.mark.parametrize(
    ("found", "verdict", "evidence"),
    [
        pytest.param(classify([2.0], [2.0]), "too short to tell", "1 epoch, at least 3 tell something", id="one"),
        pytest.param(classify([2, 1], [2, 1]), "too short to tell", "2 epochs, at least 3 tell something", id="two"),
        pytest.param(
            classify([0.45, 0.35, 0.30], [0.40, 0.35, 0.32], 0.89, test_accuracy=0.884),
            "still improving",
            "test loss fell from 0.35 to 0.32 over the last epoch",
            id="tinyvgg-like",
        ),
        pytest.param(classify(FALLING, FALLING), "still improving", "over the last 4 epochs", id="falling"),
        pytest.param(classify(SETTLED, SETTLED), "fine", "test loss levels off at 0.3", id="settled"),
        pytest.param(
            classify(SETTLED, RISING[:10] + [RISING[-1]] * 10),
            "overfitting",
            "test loss rose from 0.3",
            id="rising",
        ),
        pytest.param(
            classify(SETTLED, SETTLED, 0.99, test_accuracy=0.85),
            "overfitting",
            "99.0% of the training split right, but 85.0% of the test split",
            id="gap",
        ),
        pytest.param(classify(SETTLED, SETTLED, 0.99, test_accuracy=0.9), "fine", "levels off", id="small-gap"),
        pytest.param(
            classify([2.31, 2.305, *[2.3] * 18], [2.3] * 20, 0.11),
            "underfitting",
            "no better than always naming the commonest class: 11.0% of the training split right, 10.0% that way",
            id="chance",
        ),
        pytest.param(
            classify(SETTLED, SETTLED, 0.4), "underfitting", "levelled off with 40.0% of the training", id="low"
        ),
        pytest.param(
            classify([2, 1, 0.5, 1.9], [2, 1, 0.5, 1.9]), "unstable", "is 1.9 after it was 0.5", id="diverging"
        ),
        pytest.param(
            classify([2, 1, 0.5, 0.5, 1.5, 0.5, 1.5, 0.5], [1.0] * 8),
            "unstable",
            "jumped 2 times since it was halfway, last in epoch 7",
            id="jumping",
        ),
        pytest.param(
            classify([2, 1, math.nan], [2, 1, 1]), "unstable", "training loss is nan after it was 1", id="nan"
        ),
        pytest.param(
            regress([100 * 0.5**n for n in EPOCHS], [150.0] * 20), "overfitting", "but test loss 150", id="by-heart"
        ),
        pytest.param(
            regress([1.0, *[0.8] * 19], [0.8] * 20), "underfitting", "only fell from 1 to 0.8", id="flat-regression"
        ),
        pytest.param(regress([1.0, *[0.01] * 19], [0.011] * 20), "fine", "levels off at 0.011", id="fine-regression"),
    ],
)
def test_verdicts(found: Diagnosis, verdict: Verdict, evidence: str) -> None:
    assert (found.verdict, evidence in found.evidence) == (verdict, True), found
    assert str(found) == f"{verdict}: {found.evidence}; {REMEDIES[verdict]}"
    assert "\n" not in str(found)


def test_every_verdict_has_a_remedy() -> None:
    assert tuple(REMEDIES) == get_args(Verdict)
    assert "dropout" in REMEDIES["overfitting"]
    assert "layers" in REMEDIES["underfitting"]


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.549, "underfitting"), (0.551, "fine")])
def test_balanced_binary_near_a_half_is_named(accuracy: float, verdict: Verdict) -> None:
    history = make_history([0.7, 0.69, 0.69, 0.69], [0.69] * 4, accuracy=accuracy)
    found = diagnose(history, task="binary-classification", chance=0.5)
    named = found.evidence.startswith("no better than always naming the commonest class")
    assert named == (verdict == "underfitting")


def test_the_validation_split_is_looked_at_where_there_is_one() -> None:
    history = make_history(SETTLED, SETTLED, accuracy=0.9, validation=FALLING)
    found = diagnose(history, task="classification", chance=0.1)
    assert (found.verdict, found.evidence[:20]) == ("still improving", "validation loss fell")


def test_a_rise_that_early_stopping_went_back_from_is_no_overfitting() -> None:
    rising = RISING[:10] + [RISING[-1]] * 10
    history = make_history(SETTLED, SETTLED, accuracy=0.9, validation=rising)
    assert diagnose(history, task="classification", chance=0.1).verdict == "overfitting"
    kept = diagnose(history, task="classification", chance=0.1, kept_epoch=6)
    assert kept.verdict == "fine"
    assert "early stopping kept epoch 6, the lowest of 20 in validation loss" in kept.evidence


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        pytest.param("circles-v0", "underfitting", id="circles-v0"),
        pytest.param("circles-v1", "underfitting", id="circles-v1"),
        pytest.param("circles-v2", "still improving", id="circles-v2"),
        pytest.param("weight-decay-0", "overfitting", id="weight-decay-0"),
        pytest.param("line-parameters", "still improving", id="line-parameters"),
        pytest.param("line-linear", "fine", id="line-linear"),
        pytest.param("blobs", "fine", id="blobs"),
    ],
)
def test_runs_of_the_notes(name: str, verdict: Verdict) -> None:
    fitted = fit(RECIPES[name], data_root=Path("unused"), choice=choose_device("cpu"), watcher=Quiet())
    assert diagnose_run(fitted.run, fitted.history).verdict == verdict
