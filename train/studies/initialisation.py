"""Where training begins: the notes' initialisers, and constants that no step can tell apart."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

from train.initialise import initialise
from train.studies.digits import CLASSES, FEATURES, fit_network, measure, read_rows
from train.studies.result import Cell, Check, Curve, StudyResult, judge

HIDDEN = 16
SAME = 1e-4
NORMAL_STD = 0.01
# First weights that the notes print after each initialiser; no seed is set there, so that only a range can be checked.
PRINTED_NORMAL = (-0.0214, -0.0015, -0.0100, -0.0058)
PRINTED_XAVIER = (0.5236, 0.0516, -0.3236, 0.3794)
PRINTED_WIDE = (5.4079, 9.3334, 5.0616, 8.3095, 0.0, 7.2788, 0.0, 0.0)
XAVIER_BOUND = (6 / (4 + 8)) ** 0.5
"""Of the notes' layer, 4 to 8."""


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
    checks = (*_symmetry_checks(different, accuracies), *_printed_checks())
    return StudyResult(
        title=f"How weights begin: {FEATURES}-{HIDDEN}-{CLASSES} network on the digits",
        claim="Equal hidden units stay equal for ever; gradient descent does not break the symmetry, dropout does.",
        columns=("beginning", f"different units of {HIDDEN}", "accuracy, epoch 1", f"accuracy, epoch {epochs}"),
        rows=tuple(rows),
        finding=(
            f"from a constant {different['constant 0.1']:g} of {HIDDEN} hidden units are different after training, "
            f"with dropout {different['constant 0.1, dropout 0.5']:g}; accuracies {accuracies['constant 0.1']:.1%} for "
            f"a constant, {accuracies['normal 0.01']:.1%} for N(0, 0.01), {accuracies['Xavier']:.1%} for Xavier, "
            f"{accuracies['Xavier, last layer 42']:.1%} with 42 in the last layer and {accuracies['default']:.1%} for "
            "torch's default. The weights that the notes print are unseeded: only their ranges can be checked."
        ),
        verdict=judge(checks),
        checks=checks,
        curves=tuple(curves),
        axes=("epoch", "test accuracy"),
    )


def _symmetry_checks(different: dict[str, float], accuracies: dict[str, float]) -> tuple[Check, ...]:
    parted = different["constant 0.1, dropout 0.5"]
    return (
        *(
            Check(f"{label}: different hidden units", "1, for ever", f"{different[label]:g}", different[label] == 1)
            for label in ("constant 1", "constant 0.1")
        ),
        Check("constant 0.1 with dropout: different hidden units", "more than 1", f"{parted:g}", parted > 1),
        Check(
            "accuracy, constant 0.1 against default",
            "lower",
            f"{accuracies['constant 0.1']:.1%} against {accuracies['default']:.1%}",
            accuracies["constant 0.1"] < accuracies["default"] - 0.1,
        ),
    )


def _printed_checks() -> tuple[Check, ...]:
    normal = max(map(abs, PRINTED_NORMAL))
    xavier = max(map(abs, PRINTED_XAVIER))
    wide = [value for value in PRINTED_WIDE if value]
    return (
        Check(
            "weights printed for N(0, 0.01)",
            f"greatest {normal:g}, unseeded",
            f"within 4 deviations, {4 * NORMAL_STD:g}",
            normal <= 4 * NORMAL_STD,
        ),
        Check(
            "weights printed for Xavier, 4 to 8",
            f"greatest {xavier:g}, unseeded",
            f"its bound is {XAVIER_BOUND:.4f}",
            xavier <= XAVIER_BOUND,
        ),
        Check(
            "weights printed for the notes' own initialiser",
            f"0, or {min(wide):g} to {max(wide):g}, unseeded",
            "0, or 5 to 10 in size",
            all(5 <= abs(value) <= 10 for value in wide),
        ),
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


def _constant_1(network: nn.Module) -> None:
    """Set every weight to 1 and every bias to 0, as the notes do."""
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1.0 if parameter.ndim > 1 else 0.0)


def _xavier(network: nn.Module) -> None:
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)


def _xavier_42(network: nn.Module) -> None:
    """Draw the first layer by Xavier and set the last one's weights to 42, as the notes do."""
    _xavier(network)
    nn.init.constant_(network.get_parameter("3.weight"), 42.0)


def _wide(network: nn.Module) -> None:
    """Draw from U(-10, 10) and zero what is nearer to 0 than 5: the notes' own initialiser."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.uniform_(parameter, -10, 10)
            parameter.mul_(parameter.abs() >= 5)


ARMS: dict[str, tuple[Callable[[nn.Module], None], float]] = {
    "constant 1": (_constant_1, 0.0),
    "constant 0.1": (_constant, 0.0),
    "constant 0.1, dropout 0.5": (_constant, 0.5),
    "normal 0.01": (lambda network: initialise(network, "normal-0.01-zero-bias"), 0.0),
    "Xavier": (_xavier, 0.0),
    "Xavier, last layer 42": (_xavier_42, 0.0),
    "U(-10, 10), small ones zeroed": (_wide, 0.0),
    "default": (lambda _: None, 0.0),
}
