"""Where training begins: constants that no step can tell apart, normal draws, Xavier, torch's default, and wide."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

from train.initialise import initialise
from train.studies.digits import CLASSES, FEATURES, fit_network, measure, read_rows
from train.studies.result import Cell, Curve, StudyResult, as_verdict

HIDDEN = 16
SAME = 1e-4


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:  # noqa: ARG001 - every study takes the same
    """Train one small network from each beginning, and count the hidden units that differ at the end."""
    epochs, seeds = (8, range(1)) if quick else (60, range(5))
    train, test = read_rows()
    rows: list[tuple[Cell, ...]] = []
    curves, different, accuracies = [], {}, {}
    for label, (begin, probability) in ARMS.items():
        histories, counts = [], []
        for seed in seeds:
            torch.manual_seed(seed)
            network = _network(probability)
            with torch.no_grad():
                begin(network)
            fit = fit_network(network, train, learning_rate=0.1, batch_size=64, epochs=epochs, seed=seed)
            histories.append([measure(network, test)[1] for _ in fit])
            counts.append(count_different(network.get_parameter("0.weight")))
        curve = [mean(history[epoch] for history in histories) for epoch in range(epochs)]
        different[label], accuracies[label] = mean(counts), curve[-1]
        rows.append((label, different[label], curve[0], curve[-1]))
        curves.append(Curve(label=label, x=tuple(range(1, epochs + 1)), y=tuple(curve)))
    return StudyResult(
        title=f"How weights begin: {FEATURES}-{HIDDEN}-{CLASSES} network on the digits",
        claim="Equal hidden units stay equal for ever; gradient descent does not break the symmetry, dropout does.",
        columns=("beginning", f"different units of {HIDDEN}", "accuracy, epoch 1", f"accuracy, epoch {epochs}"),
        rows=tuple(rows),
        finding=(
            f"from a constant {different['constant']:g} of {HIDDEN} hidden units are different after training, with "
            f"dropout {different['constant, dropout 0.5']:g}; accuracies {accuracies['constant']:.1%} for a constant, "
            f"{accuracies['normal 0.01']:.1%} for N(0, 0.01), {accuracies['Xavier']:.1%} for Xavier and "
            f"{accuracies['default']:.1%} for torch's default."
        ),
        verdict=as_verdict(
            different["constant"] == 1,
            different["constant, dropout 0.5"] > 1,
            accuracies["constant"] < accuracies["default"] - 0.1,
        ),
        curves=tuple(curves),
        axes=("epoch", "test accuracy"),
    )


def count_different(weight: Tensor) -> int:
    """Return how many rows of a weight differ from every earlier one, by more than rounding."""
    scale = max(float(weight.detach().abs().max()), 1e-30)
    kept: list[Tensor] = []
    for row in weight.detach():
        if all(float((row - other).abs().max()) > SAME * scale for other in kept):
            kept.append(row)
    return len(kept)


def _network(probability: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(probability), nn.Linear(HIDDEN, CLASSES))


def _constant(network: nn.Module) -> None:
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)


def _xavier(network: nn.Module) -> None:
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)


def _wide(network: nn.Module) -> None:
    """Draw from U(-10, 10) and zero what is nearer to 0 than 5: the notes' own initialiser."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.uniform_(parameter, -10, 10)
            parameter.mul_(parameter.abs() >= 5)


ARMS: dict[str, tuple[Callable[[nn.Module], None], float]] = {
    "constant": (_constant, 0.0),
    "constant, dropout 0.5": (_constant, 0.5),
    "normal 0.01": (lambda network: initialise(network, "normal-0.01"), 0.0),
    "Xavier": (_xavier, 0.0),
    "default": (lambda _: None, 0.0),
    "U(-10, 10), small ones zeroed": (_wide, 0.0),
}
