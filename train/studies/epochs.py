"""Ever more epochs of softmax regression: where the test loss turns, and where the test accuracy falls."""

from pathlib import Path

import torch
from torch import nn

from train.fashion_mnist import read_fashion_mnist
from train.studies.digits import Rows, fit_network, measure, read_rows
from train.studies.result import Cell, Curve, StudyResult, as_verdict

TRAIN_ROWS = 2000


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:
    """Train on some rows of Fashion-MNIST, or quickly on some digits, and measure after every epoch."""
    if quick:
        train, test = read_rows()
        train, epochs, batch_size, data = train.first(200), 100, 32, "digits"
    else:
        dataset = read_fashion_mnist(data_root, download=False)
        train, test = (
            Rows(
                inputs=torch.from_numpy(split.inputs).flatten(1).float() / 255, targets=torch.from_numpy(split.targets)
            )
            for split in (dataset.train, dataset.test)
        )
        train, epochs, batch_size, data = train.first(TRAIN_ROWS), 1000, 256, "Fashion-MNIST"
    torch.manual_seed(0)
    network = nn.Linear(train.inputs.shape[1], 10)
    fit = fit_network(network, train, learning_rate=0.1, batch_size=batch_size, epochs=epochs, seed=0)
    history = [(*measure(network, train), *measure(network, test)) for _ in fit]
    _, train_accuracies, test_losses, test_accuracies = zip(*history, strict=True)
    best_loss = test_losses.index(min(test_losses)) + 1
    best_accuracy = test_accuracies.index(max(test_accuracies)) + 1
    shown = sorted({1, 3, 10, 30, 100, 300, best_loss, best_accuracy, epochs} & set(range(1, epochs + 1)))
    rows: list[tuple[Cell, ...]] = [(epoch, *history[epoch - 1]) for epoch in shown]
    numbers = tuple(range(1, epochs + 1))
    fall = max(test_accuracies) - test_accuracies[-1]
    gap_begins, gap_ends = (train_accuracies[place] - test_accuracies[place] for place in (0, -1))
    return StudyResult(
        title=f"Softmax regression on {len(train.inputs):,} rows of {data}, {epochs:,} epochs",
        claim="At first test accuracy is close to training accuracy; with many epochs it falls and stays below.",
        columns=("epoch", "train loss", "train accuracy", "test loss", "test accuracy"),
        rows=tuple(rows),
        finding=(
            f"the test loss is least after epoch {best_loss}, the test accuracy greatest after epoch {best_accuracy}, "
            f"{fall:.1%} above its end; training accuracy leads by {gap_begins:.1%} at first, {gap_ends:.1%} at last."
        ),
        verdict=as_verdict(fall > 0.005, gap_ends > gap_begins + 0.01),
        curves=(
            Curve(label="train", x=numbers, y=train_accuracies),
            Curve(label="test", x=numbers, y=test_accuracies),
        ),
        axes=("epoch", "top-1 accuracy"),
        log_scale=(True, False),
    )
