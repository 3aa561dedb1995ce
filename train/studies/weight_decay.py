"""Weight decay where there are ten times as many features as rows: norms and losses over seeds."""

from pathlib import Path
from statistics import mean, stdev

import torch
from torch.nn import functional

from train.scratch.models import linear_regression
from train.scratch.sgd import batches
from train.studies.result import Curve, StudyResult, as_verdict

# Source: the notes print norms only; rows, features, batch and true weights are those that give them, 001
# S-WEIGHT-DECAY
TRAIN_ROWS, TEST_ROWS, FEATURES, BATCH = 20, 100, 200, 5
TRUE_WEIGHT, TRUE_BIAS, NOISE = 0.01, 0.05, 0.01
LEARNING_RATE, EPOCHS = 0.003, 100
NOTES_NORM = {0.0: 13.727912902832031, 3.0: 0.3890590965747833}
SPREAD = 3.0


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:  # noqa: ARG001 - every study takes the same
    """Train without and with decay of the weights (not of the bias), from several seeds."""
    seeds = range(3 if quick else 20)
    rows, curves, test_losses, near = [], [], [], []
    for decay, printed in NOTES_NORM.items():
        runs = [_train(decay, seed=seed) for seed in seeds]
        norms = [norm for norm, _ in runs]
        train_loss, test_loss = (mean(history[-1][split] for _, history in runs) for split in (0, 1))
        within = abs(printed - mean(norms)) <= SPREAD * stdev(norms)
        rows.append((decay, printed, mean(norms), stdev(norms), train_loss, test_loss))
        test_losses.append(test_loss)
        near.append(within)
        for split, label in enumerate(("train", "test")):
            losses = tuple(mean(history[epoch][split] for _, history in runs) for epoch in range(EPOCHS))
            curves.append(
                Curve(label=f"decay {decay:g}, {label}", x=tuple(range(1, EPOCHS + 1)), y=losses, dashed=not split)
            )
    names = [f"{row[2]:.3g} ± {row[3]:.2g}" for row in rows]
    return StudyResult(
        title=f"Weight decay, {TRAIN_ROWS} rows of {FEATURES} features: norm of the weights and mean squared errors",
        claim="The norm of the weights is 13.7 without decay and 0.39 with decay 3; decay narrows the gap to the test.",
        columns=("decay", "notes' norm", "norm, mean", "norm, deviation", "train loss", "test loss"),
        rows=tuple(rows),
        finding=(
            f"norms {names[0]} and {names[1]} over {len(seeds)} seeds, the printed ones "
            f"{'within' if all(near) else 'not both within'} {SPREAD:g} deviations; the test loss falls from "
            f"{test_losses[0]:.3g} to {test_losses[1]:.2g}."
        ),
        verdict=as_verdict(*near, test_losses[1] < test_losses[0]),
        curves=tuple(curves),
        axes=("epoch", "mean squared error"),
        log_scale=(False, True),
    )


def _train(decay: float, *, seed: int) -> tuple[float, list[tuple[float, float]]]:
    """Return the final norm, and the train and test loss after each epoch."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(TRAIN_ROWS + TEST_ROWS, FEATURES, generator=generator)
    targets = TRUE_WEIGHT * inputs.sum(dim=1, keepdim=True) + TRUE_BIAS
    targets += NOISE * torch.randn(targets.shape, generator=generator)
    parts = [(inputs[:TRAIN_ROWS], targets[:TRAIN_ROWS]), (inputs[TRAIN_ROWS:], targets[TRAIN_ROWS:])]
    weight = torch.randn(FEATURES, 1, generator=generator).requires_grad_()
    bias = torch.randn(1, generator=generator).requires_grad_()
    history = []
    for _ in range(EPOCHS):
        for index in batches(TRAIN_ROWS, BATCH, generator):
            loss = functional.mse_loss(linear_regression(inputs[index], weight, bias), targets[index])
            gradients = torch.autograd.grad(loss, (weight, bias))
            with torch.no_grad():
                weight -= LEARNING_RATE * (gradients[0] + decay * weight)
                bias -= LEARNING_RATE * gradients[1]
        with torch.no_grad():
            train, test = (float(functional.mse_loss(linear_regression(x, weight, bias), y)) for x, y in parts)
        history.append((train, test))
    return float(weight.detach().norm()), history
