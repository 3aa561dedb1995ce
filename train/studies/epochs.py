"""Ever more epochs of softmax regression: where the test loss turns, and where the test accuracy falls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import nn

from train.initialise import initialise
from train.studies.digits import NO_FASHION, Rows, fit_network, measure, read_fashion_rows, read_rows
from train.studies.result import Cell, Check, Curve, StudyResult, judge

FEW_ROWS, FEW_EPOCHS, ALL_EPOCHS = 2000, 1000, 200
LEARNING_RATE = 0.1
LEAST_FALL, LEAST_LEAD = 0.005, 0.01
WINDOW = 20
"""Epochs in a mean: single ones go up and down, and the best of many is best by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """So many epochs on so many rows."""

    data: str
    train: Rows
    test: Rows
    epochs: int
    batch_size: int

    @property
    def label(self) -> str:
        """How the arm is called in the table."""
        return f"{len(self.train.inputs):,} of {self.data}"


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:
    """Train on few and on all rows of Fashion-MNIST, or on digits, and measure after every epoch."""
    fashion = None if quick else read_fashion_rows(data_root)
    if fashion is None:
        train, test = read_rows()
        epochs = 200 if quick else FEW_EPOCHS
        arms = [Arm(data="the digits", train=train.first(100), test=test, epochs=epochs, batch_size=32)]
    else:
        train, test = fashion
        arms = [
            Arm(data="Fashion-MNIST", train=train.first(rows), test=test, epochs=epochs, batch_size=256)
            for rows, epochs in ((FEW_ROWS, FEW_EPOCHS), (len(train.inputs), ALL_EPOCHS))
        ]
    table: list[tuple[Cell, ...]] = []
    curves, checks, findings = [], [], []
    for arm in arms:
        history = _train(arm)
        train_losses, train_accuracies, test_losses, test_accuracies = zip(*history, strict=True)
        best_loss = test_losses.index(min(test_losses)) + 1
        best_accuracy = test_accuracies.index(max(test_accuracies)) + 1
        marks = {1, 3, 10, 30, 100, 300, best_loss, best_accuracy, arm.epochs}
        table += [(arm.label, epoch, *history[epoch - 1]) for epoch in sorted(marks & set(range(1, arm.epochs + 1)))]
        numbers = tuple(range(1, arm.epochs + 1))
        curves += [
            Curve(label=f"{arm.label}, train", x=numbers, y=train_accuracies, dashed=True),
            Curve(label=f"{arm.label}, test", x=numbers, y=test_accuracies),
        ]
        best_from, fall = measure_fall(test_accuracies)
        leads = [train_accuracies[place] - test_accuracies[place] for place in (0, -1)]
        gaps = [test_losses[place] - train_losses[place] for place in (0, -1)]
        checks += [
            Check(
                f"{arm.label}: test accuracy below its best at the end",
                "it falls",
                f"by {fall:.1%} since epoch {best_from}, in means of {WINDOW}",
                fall > LEAST_FALL,
            ),
            Check(
                f"{arm.label}: training leads",
                "not at first, later ever",
                f"accuracy by {leads[0]:.1%} at first, {leads[1]:.1%} at last; loss by {gaps[0]:.2f}, {gaps[1]:.2f}",
                leads[1] > LEAST_LEAD and gaps[1] > gaps[0],
            ),
        ]
        findings.append(
            f"with {arm.label} the test loss is least after epoch {best_loss}, the test accuracy greatest after epoch "
            f"{best_accuracy}; in means of {WINDOW} epochs it is {fall:.1%} above its end after {arm.epochs}"
        )
    return StudyResult(
        title=(
            "Softmax regression on "
            + " and on ".join(arm.label for arm in arms)
            + ", epoch by epoch"
            + (f" ({NO_FASHION})" if fashion is None and not quick else "")
        ),
        claim="At first test accuracy is close to training accuracy; with many epochs it falls and stays below.",
        columns=("rows", "epoch", "train loss", "train accuracy", "test loss", "test accuracy"),
        rows=tuple(table),
        finding="; ".join(findings) + ".",
        verdict=judge(checks),
        checks=tuple(checks),
        curves=tuple(curves),
        axes=("epoch", "top-1 accuracy"),
        log_scale=(True, False),
    )


def measure_fall(accuracies: Sequence[float]) -> tuple[int, float]:
    """Return the first epoch of the best stretch of epochs, and how far the last stretch is below it."""
    length = min(WINDOW, len(accuracies))
    means = [mean(accuracies[first : first + length]) for first in range(len(accuracies) - length + 1)]
    return means.index(max(means)) + 1, max(means) - means[-1]


def _train(arm: Arm) -> list[tuple[float, float, float, float]]:
    """Return losses and accuracies on the training and the test rows after each epoch."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(arm.train.inputs.shape[1], 10))
    initialise(network, "normal-0.01")
    fit = fit_network(
        network, arm.train, learning_rate=LEARNING_RATE, batch_size=arm.batch_size, epochs=arm.epochs, seed=0
    )
    return [(*measure(network, arm.train), *measure(network, arm.test)) for _ in fit]
