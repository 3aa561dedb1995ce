"""Huber's loss against the squared loss: at the same learning rate, at the same step size, and with outliers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from train.studies.line import Reduced, fit_lines, make_line
from train.studies.result import Cell, Check, Curve, StudyResult, judge

OUTLIER_SHARE = 0.05
OUTLIER_SHIFT = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One loss at one learning rate."""

    label: str
    loss: Reduced
    learning_rate: float


# Greatest parameter error after each number of epochs, as the notes print them: one unseeded run of each loss.
NOTES = {
    "MSE, rate 0.03": {3: 0.0006, 5: 0.0004, 10: 0.00034857, 20: 0.00034618, 50: 0.0003, 100: 0.0009},
    "Huber, rate 0.03": {3: 0.0288, 5: 0.0004, 10: 0.00039601, 20: 0.0003, 50: 0.00023127, 100: 0.00058103},
}
SEEDS = 200
MIDDLE = 0.98
"""Share of our seeds, around their median, among which one run of the notes is expected to lie."""

# torch's HuberLoss has the factor 1/2 and its MSELoss has not: near the solution, twice the rate is the same step
HUBER = partial(functional.huber_loss, reduction="none")
ARMS = (
    Arm(label="MSE, rate 0.03", loss=partial(functional.mse_loss, reduction="none"), learning_rate=0.03),
    Arm(label="Huber, rate 0.03", loss=HUBER, learning_rate=0.03),
    Arm(label="Huber, rate 0.06", loss=HUBER, learning_rate=0.06),
)


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:  # noqa: ARG001 - every study takes the same
    """Measure how far the learnt line is from the true one, after each number of epochs."""
    milestones = (3, 5) if quick else (3, 5, 10, 20, 50, 100)
    seeds = range(20 if quick else SEEDS)
    rows: list[tuple[Cell, ...]] = []
    curves = []
    errors: dict[tuple[str, bool], list[float]] = {}
    printed: list[Check] = []
    for outliers in (False, True):
        for arm in ARMS:
            ours = _errors(arm, outliers=outliers, epochs=milestones[-1], seeds=seeds)
            if not outliers and arm.label in NOTES:
                printed += [check_printed(arm.label, epoch, ours[epoch - 1]) for epoch in milestones]
            middle = [float(ours[epoch - 1].quantile(0.5)) for epoch in milestones]
            errors[arm.label, outliers] = middle
            data = "5 % outliers" if outliers else "clean"
            rows.append((arm.label, data, *middle))
            curves.append(Curve(label=f"{arm.label}, {data}", x=milestones, y=tuple(middle)))
    mse, slow, matched = (errors[arm.label, False] for arm in ARMS)
    slower_as_printed = slow[0] > 3 * mse[0]
    slower_at_same_step = matched[0] > 3 * mse[0]
    steadier_clean = matched[-1] < mse[-1] / 2
    steadier_outliers = errors[ARMS[2].label, True][-1] < errors[ARMS[0].label, True][-1] / 2
    checks = (
        *printed,
        Check("Huber at the same rate", "slower", f"{slow[0] / mse[0]:.3g} x the error of MSE", slower_as_printed),
        Check("Huber at the same step size", "slower", f"{matched[0] / mse[0]:.3g} x", slower_at_same_step),
        Check("Huber on clean data", "more stable", f"{matched[-1] / mse[-1]:.3g} x", steadier_clean),
        Check(
            "Huber with outliers",
            "more stable",
            f"{errors[ARMS[2].label, True][-1] / errors[ARMS[0].label, True][-1]:.3g} x",
            steadier_outliers,
        ),
    )
    return StudyResult(
        title=f"Huber's loss and the squared loss: greatest parameter error, median over {len(seeds)} seeds",
        claim="Huber's loss is somewhat slower than MSE, and its optimisation is more stable (one run, no outliers).",
        columns=("loss", "data", *(f"{epoch} epochs" for epoch in milestones)),
        rows=tuple(rows),
        finding=(
            f"after {milestones[0]} epochs at the same rate the error is {slow[0]:.2g} against {mse[0]:.2g}, but at "
            f"the same step size {matched[0]:.2g}: Huber is {'' if slower_at_same_step else 'not '}slower in itself. "
            f"On clean data it is {'' if steadier_clean else 'not '}steadier; with outliers its error is "
            f"{errors[ARMS[2].label, True][-1]:.2g} against {errors[ARMS[0].label, True][-1]:.2g}."
        ),
        verdict=judge(checks),
        checks=checks,
        curves=tuple(curves),
        axes=("epochs", "greatest parameter error"),
        log_scale=(True, True),
    )


def check_printed(label: str, epoch: int, ours: Tensor) -> Check:
    """Return whether the error that the notes print lies in the middle of ours ``(seeds,)``."""
    notes = NOTES[label][epoch]
    low, high = (float(ours.quantile(share)) for share in ((1 - MIDDLE) / 2, (1 + MIDDLE) / 2))
    what = f"{label}, {epoch} epochs: greatest error, in the middle {MIDDLE:.0%} of our seeds"
    return Check(what, f"{notes:.2g}", f"{low:.2g} to {high:.2g}", low <= notes <= high)


def _errors(arm: Arm, *, outliers: bool, epochs: int, seeds: Sequence[int]) -> list[Tensor]:
    """Return after each epoch the error of each seed."""
    data = [make_line(1000, seed=seed) for seed in seeds]
    if outliers:
        data = [_with_outliers(*rows, seed=seed) for rows, seed in zip(data, seeds, strict=True)]
    return list(fit_lines(data, arm.loss, learning_rate=arm.learning_rate, epochs=epochs, seeds=seeds))


def _with_outliers(inputs: Tensor, targets: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 + seed)
    hit = torch.rand(targets.shape, generator=generator) < OUTLIER_SHARE
    return inputs, targets + OUTLIER_SHIFT * hit
