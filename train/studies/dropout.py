"""Dropout: the gap between training and test, and what many dropped-out passes say about doubt."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn

from train.initialise import initialise
from train.studies.digits import CLASSES, FEATURES, NO_FASHION, Rows, fit_network, measure, read_fashion_rows, read_rows
from train.studies.result import Cell, Check, Curve, StudyResult, judge

TRAIN_ROWS, HIDDEN, PASSES = 200, 128, 50
PROBABILITIES = ((0.0,), (0.2,), (0.5,))
# The notes leave shares, rate and epochs open; these are those of the book that they follow.
FASHION_PROBABILITIES, FASHION_RATE, FASHION_EPOCHS = ((0.0, 0.0), (0.2, 0.5)), 0.5, 20
DOUBT_ROWS = 2000
RANK_MARGIN = 0.01
SPREAD = 2.0
"""How many standard errors a difference over seeds must be away from its margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One data set, and the network that is trained on it."""

    data: str
    train: Rows
    test: Rows
    build: Callable[[tuple[float, ...]], nn.Module]
    probabilities: tuple[tuple[float, ...], ...]
    learning_rate: float
    batch_size: int
    epochs: int
    seeds: range


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one share of dropout gives, means over the seeds.

    Attributes:
        gaps: How much greater the test loss is than the training loss, of each seed.
        ranks: In which share of pairs the wrong answer is the more doubtful, of each seed.
    """

    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    averaged_accuracy: float
    gaps: tuple[float, ...]
    ranks: tuple[float, ...]
    history: tuple[float, ...]


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:
    """Train the same network with several shares of dropout on each data set, and ask it for its doubt."""
    digits = _digits(quick=quick)
    fashion = None if quick else _fashion(data_root)
    settings = [digits] if fashion is None else [digits, fashion]
    rows: list[tuple[Cell, ...]] = []
    curves, checks = [], []
    for setting in settings:
        outcomes = {shares: _train(setting, shares) for shares in setting.probabilities}
        for shares, found in outcomes.items():
            label = " / ".join(f"{share:g}" for share in shares)
            rows.append(
                (
                    setting.data,
                    label,
                    found.train_loss,
                    found.test_loss,
                    found.train_accuracy,
                    found.test_accuracy,
                    found.averaged_accuracy,
                    mean(found.ranks),
                )
            )
            epochs = tuple(range(1, setting.epochs + 1))
            curves.append(Curve(label=f"{setting.data}, dropout {label}", x=epochs, y=found.history))
        without, most = outcomes[setting.probabilities[0]], outcomes[setting.probabilities[-1]]
        checks += [
            Check(
                f"{setting.data}: test loss less training loss",
                "narrower with dropout",
                f"{mean(without.gaps):.3f} without, {mean(most.gaps):.3f} with{_spread(without.gaps, most.gaps)}",
                is_clearly_less(most.gaps, without.gaps),
            ),
            Check(
                f"{setting.data}: a wrong answer is the more doubtful",
                "tells doubt, so more often than without dropout",
                f"in {mean(without.ranks):.1%} of pairs without, in {mean(most.ranks):.1%} with"
                + _spread(most.ranks, without.ranks),
                is_clearly_less(without.ranks, most.ranks, margin=RANK_MARGIN),
            ),
        ]
    return StudyResult(
        title=(
            f"Dropout on {TRAIN_ROWS} digits"
            + (f", and on all of Fashion-MNIST for {FASHION_EPOCHS} epochs, one seed" if fashion else "")
            + ("" if quick or fashion else f" ({NO_FASHION})")
        ),
        claim="Dropout narrows the gap between training and test; left on when predicting, it tells how sure a net is.",
        columns=(
            "data",
            "dropout",
            "train loss",
            "test loss",
            "train acc.",
            "test acc.",
            f"acc. of {PASSES} passes",
            "doubt finds errors",
        ),
        rows=tuple(rows),
        finding="; ".join(f"{check.what}: {check.here}" for check in checks) + ".",
        verdict=judge(checks),
        checks=tuple(checks),
        curves=tuple(curves),
        axes=("epoch", "test loss"),
        log_scale=(True, True),
    )


def is_clearly_less(ours: Sequence[float], theirs: Sequence[float], *, margin: float = 0.0) -> bool | None:
    """Return whether the first are less than the second by more than a margin and the spread over seeds.

    Of one seed there is no spread, and so no answer.
    """
    if len(ours) < 2:
        return None
    differences = [other - one for one, other in zip(ours, theirs, strict=True)]
    if not all(map(math.isfinite, differences)):
        return False
    standard_error = stdev(differences) / math.sqrt(len(differences))
    return mean(differences) - SPREAD * standard_error > margin


def _spread(greater: Sequence[float], less: Sequence[float]) -> str:
    if len(greater) < 2:
        return "; one seed, so that there is no spread to judge by"
    differences = [one - other for one, other in zip(greater, less, strict=True)]
    return f"; difference {mean(differences):.3f}, deviation {stdev(differences):.3f} over {len(differences)} seeds"


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


def _train(setting: Setting, shares: tuple[float, ...]) -> Outcome:
    finals, averaged, ranks, histories = [], [], [], []
    for seed in setting.seeds:
        torch.manual_seed(seed)
        network = setting.build(shares)
        fit = fit_network(
            network,
            setting.train,
            learning_rate=setting.learning_rate,
            batch_size=setting.batch_size,
            epochs=setting.epochs,
            seed=seed,
        )
        histories.append([measure(network, setting.test)[0] for _ in fit])
        finals.append((*measure(network, setting.train), *measure(network, setting.test)))
        right, doubt = monte_carlo(network, setting.test.first(DOUBT_ROWS))
        averaged.append(float(right.double().mean()))
        ranks.append(rank_of_wrong(right, doubt))
    train_loss, train_accuracy, test_loss, test_accuracy = (mean(column) for column in zip(*finals, strict=True))
    return Outcome(
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        averaged_accuracy=mean(averaged),
        gaps=tuple(final[2] - final[0] for final in finals),
        ranks=tuple(ranks),
        history=tuple(mean(losses) for losses in zip(*histories, strict=True)),
    )


def _digits(*, quick: bool) -> Setting:
    train, test = read_rows()
    return Setting(
        data="digits",
        train=train.first(TRAIN_ROWS),
        test=test,
        build=lambda shares: nn.Sequential(
            nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(shares[0]), nn.Linear(HIDDEN, CLASSES)
        ),
        probabilities=PROBABILITIES,
        learning_rate=0.1,
        batch_size=32,
        epochs=30 if quick else 300,
        seeds=range(3 if quick else 10),
    )


def _fashion(data_root: Path) -> Setting | None:
    rows = read_fashion_rows(data_root)
    if rows is None:
        return None
    return Setting(
        data="Fashion-MNIST",
        train=rows[0],
        test=rows[1],
        build=_fashion_network,
        probabilities=FASHION_PROBABILITIES,
        learning_rate=FASHION_RATE,
        batch_size=256,
        epochs=FASHION_EPOCHS,
        seeds=range(1),
    )


def _fashion_network(shares: tuple[float, ...]) -> nn.Module:
    """Build the perceptron of the notes: 784-256-256-10, weights from N(0, 0.01)."""
    first, second = shares
    network = nn.Sequential(
        *(nn.Linear(784, 256), nn.ReLU(), nn.Dropout(first)),
        *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(second)),
        nn.Linear(256, CLASSES),
    )
    initialise(network, "normal-0.01")
    return network
