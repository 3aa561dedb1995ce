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
LAYER = (4, 8)
"""Features in and out of the layer whose weights the notes print."""
DRAWS, MIDDLE = 2000, 0.99
# First weights that the notes print after each initialiser; no seed is set there, so that
# they can only be held against many drawn here.
PRINTED_NORMAL = (-0.0214, -0.0015, -0.0100, -0.0058)
PRINTED_XAVIER = (0.5236, 0.0516, -0.3236, 0.3794)
PRINTED_WIDE = (5.4079, 9.3334, 5.0616, 8.3095, 0.0, 7.2788, 0.0, 0.0)


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
            "torch's default. The weights that the notes print are unseeded: they are held against {DRAWS:,} draws."
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
    wide = [value for value in PRINTED_WIDE if value]
    return (
        check_drawn(
            f"{len(PRINTED_NORMAL)} weights printed for N(0, 0.01): the greatest",
            max(map(abs, PRINTED_NORMAL)),
            _draw(lambda layer: initialise(layer, "normal-0.01"), len(PRINTED_NORMAL)).amax(dim=1),
        ),
        check_drawn(
            f"{len(PRINTED_XAVIER)} weights printed for Xavier, 4 to 8: the greatest",
            max(map(abs, PRINTED_XAVIER)),
            _draw(_xavier, len(PRINTED_XAVIER)).amax(dim=1),
        ),
        check_drawn(
            f"{len(PRINTED_WIDE)} weights printed for the notes' own initialiser: how many are 0",
            len(PRINTED_WIDE) - len(wide),
            (_draw(_wide, len(PRINTED_WIDE)) == 0).sum(dim=1).double(),
        ),
        check_drawn(
            "the others of them: the mean",
            mean(wide),
            torch.stack([row[row > 0].mean() for row in _draw(_wide, len(PRINTED_WIDE)) if (row > 0).any()]),
        ),
    )


def check_drawn(what: str, printed: float, drawn: Tensor) -> Check:
    """Return whether a figure of unseeded weights lies where most of the same figure of weights drawn here lie.

    Args:
        what: What the figure is.
        printed: In the notes.
        drawn: Of many draws, ``(draws,)``.
    """
    low, high = (float(drawn.quantile(share)) for share in ((1 - MIDDLE) / 2, (1 + MIDDLE) / 2))
    here = f"{low:.3g} to {high:.3g} in the middle {MIDDLE:.0%} of {len(drawn):,} draws"
    return Check(what, f"{printed:.4g}, unseeded", here, low <= printed <= high)


def _draw(begin: Callable[[nn.Module], None], count: int) -> Tensor:
    """Return the sizes of the first weights of many layers of the notes' shape, ``(draws, count)``."""
    torch.manual_seed(0)
    layer = nn.Linear(*LAYER)
    draws = []
    with torch.no_grad():
        for _ in range(DRAWS):
            begin(layer)
            draws.append(layer.weight.flatten()[:count].abs())
    return torch.stack(draws)


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
