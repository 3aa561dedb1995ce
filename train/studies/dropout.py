"""Dropout on few rows: the gap between training and test, and what many dropped-out passes say about doubt."""

from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

from train.studies.digits import CLASSES, FEATURES, Rows, fit_network, measure, read_rows
from train.studies.result import Cell, Curve, StudyResult, as_verdict

TRAIN_ROWS, HIDDEN, PASSES = 200, 128, 50
PROBABILITIES = (0.0, 0.2, 0.5)


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:  # noqa: ARG001 - every study takes the same
    """Train the same network with three shares of dropout, and ask the last one for its doubt."""
    epochs, seeds = (30, range(1)) if quick else (300, range(5))
    train, test = read_rows()
    train = train.first(TRAIN_ROWS)
    rows: list[tuple[Cell, ...]] = []
    curves, gaps, ranked = [], [], 0.5
    for probability in PROBABILITIES:
        finals, averaged, ranks, histories = [], [], [], []
        for seed in seeds:
            torch.manual_seed(seed)
            network = _network(probability)
            fit = fit_network(network, train, learning_rate=0.1, batch_size=32, epochs=epochs, seed=seed)
            histories.append([measure(network, test)[0] for _ in fit])
            finals.append((*measure(network, train), *measure(network, test)))
            right, doubt = monte_carlo(network, test)
            averaged.append(float(right.double().mean()))
            ranks.append(rank_of_wrong(right, doubt))
        train_loss, train_accuracy, test_loss, test_accuracy = (mean(column) for column in zip(*finals, strict=True))
        gaps.append(test_loss - train_loss)
        ranked = mean(ranks)
        rows.append((probability, train_loss, test_loss, train_accuracy, test_accuracy, mean(averaged), ranked))
        losses = tuple(mean(history[epoch] for history in histories) for epoch in range(epochs))
        curves.append(Curve(label=f"dropout {probability:g}", x=tuple(range(1, epochs + 1)), y=losses))
    return StudyResult(
        title=f"Dropout on {TRAIN_ROWS} digits: losses, accuracies, and the doubt of {PASSES} dropped-out passes",
        claim="Dropout narrows the gap between training and test; left on when predicting, it tells how sure a net is.",
        columns=(
            "dropout",
            "train loss",
            "test loss",
            "train acc.",
            "test acc.",
            "acc. of passes",
            "doubt finds errors",
        ),
        rows=tuple(rows),
        finding=(
            f"the gap of the losses is {gaps[0]:.3f} without dropout and {gaps[-1]:.3f} with {PROBABILITIES[-1]:g}; a "
            f"wrong prediction has more entropy than a right one in {ranked:.0%} of all pairs (50 % would be chance)."
        ),
        verdict=as_verdict(gaps[-1] < gaps[0], ranked >= 0.7),
        curves=tuple(curves),
        axes=("epoch", "test loss"),
        log_scale=(False, True),
    )


def monte_carlo(network: nn.Module, rows: Rows) -> tuple[Tensor, Tensor]:
    """Return whether the mean of many dropped-out passes is right, and its entropy, both ``(rows,)``."""
    network.train()
    with torch.inference_mode():
        passes = [network(rows.inputs).softmax(dim=1) for _ in range(PASSES)]
    network.eval()
    probabilities = torch.stack(passes).mean(dim=0)
    return probabilities.argmax(dim=1) == rows.targets, torch.special.entr(probabilities).sum(dim=1)


def rank_of_wrong(right: Tensor, doubt: Tensor) -> float:
    """Return in which share of pairs the wrong prediction is the more doubtful; 0.5 where there is no pair."""
    apart = doubt[~right][:, None] - doubt[right][None, :]
    if not apart.numel():
        return 0.5
    return float(((apart > 0).double() + (apart == 0).double() / 2).mean())


def _network(probability: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(probability), nn.Linear(HIDDEN, CLASSES))
