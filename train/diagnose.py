"""What a run's curves say about it: too little learnt, too much by heart, not done yet; and what to try.

Source: 003 L10669-10805, and L4466-4472 for a balanced binary task that stays near 50 per cent. The bounds are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from serve.bundle import Task
from train.run import EpochMetrics, Run

Verdict = Literal["too short to tell", "unstable", "underfitting", "overfitting", "still improving", "fine"]

LEAST_EPOCHS = 3
JUMP = 0.2  # of the first loss: a training loss so much above the best before it has jumped
NEAR_CHANCE = 0.1  # of the way from chance to 1: an accuracy below that is no better than chance
LOW_ACCURACY = 0.5  # of the same way: an accuracy below that, no longer rising, is too low
LOW_FALL = 0.5  # of the first loss: a regression whose training loss stays above it has learnt little
RISE = 0.1  # of the lowest held-out loss: so much above it at the end is a rise
ACCURACY_GAP = 0.1  # between the training and the held-out accuracy
LOSS_GAP = 0.25  # of the first held-out loss, between the held-out and the training loss
FALL = 0.05  # of the held-out loss, from the fifth of the epochs before the last fifth to the last
NOISE = 0.01  # of the first held-out loss: less than that is no change

REMEDIES: dict[Verdict, str] = {
    "too short to tell": "train for more epochs",
    "unstable": "lower the learning rate or give it a schedule, and look whether inputs are standardised",
    "underfitting": "give the network more layers or units, or ReLU between them; train longer, with another learning "
    "rate or less weight decay",
    "overfitting": "gather more data, or use augmentation, dropout, weight decay, early stopping or a smaller network; "
    "too much of them underfits",
    "still improving": "train for more epochs",
    "fine": "to gain more, try another network, more data or another learning rate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A verdict, the figures it rests on, and what to try; `str` puts them into one line."""

    verdict: Verdict
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.evidence}; {self.remedy}"


def diagnose_run(run: Run, history: Sequence[EpochMetrics]) -> Diagnosis:
    """Diagnose a run by its history."""
    return diagnose(history, task=run.task, chance=run.metrics.get("chance_top1_accuracy"), kept_epoch=run.best_epoch)


def diagnose(
    history: Sequence[EpochMetrics], *, task: Task, chance: float | None = None, kept_epoch: int | None = None
) -> Diagnosis:
    """Tell from the curves how training went.

    The held-out figures are those of the validation split where there is one, else of the test split. An epoch's
    training figures are means over batches while it learns, with dropout and augmentation on: they may be the worse.

    Args:
        history: The epochs, at least one.
        task: Of the run.
        chance: Accuracy of always naming the commonest class; None for a regression.
        kept_epoch: The epoch that early stopping chose; None where the last one is kept.
    """
    curves = _Curves(history)
    verdict, evidence = (
        _too_short(curves)
        or _unstable(curves)
        or (_no_better_than_chance(curves, chance) if task != "regression" and chance is not None else None)
        or _overfitting(curves, kept_epoch)
        or _still_improving(curves)
        or _underfitting(curves, chance if task != "regression" else None)
        or ("fine", _kept(curves, kept_epoch) or f"{curves.name} loss levels off at {curves.held_out[-1]:.4g}")
    )
    return Diagnosis(verdict=verdict, evidence=evidence, remedy=REMEDIES[verdict])


class _Curves:
    """The losses and accuracies that the rules look at."""

    def __init__(self, history: Sequence[EpochMetrics]) -> None:
        validated = all(metrics.validation_loss is not None for metrics in history)
        self.name = "validation" if validated else "test"
        weighted = any(metrics.validation_weighted_loss is not None for metrics in history)
        self.chosen_by = "weighted validation loss" if weighted else f"{self.name} loss"
        self.epochs = [metrics.epoch for metrics in history]
        self.train = [metrics.train_loss for metrics in history]
        self.held_out = [getattr(metrics, f"{self.name}_loss") for metrics in history]
        # the last tenth: one epoch alone is noise where there are many
        self.tail = max(1, len(history) // 10)
        self.accuracy = _mean([metrics.train_top1_accuracy for metrics in history[-self.tail :]])
        self.held_out_accuracy = _mean(
            [getattr(metrics, f"{self.name}_top1_accuracy") for metrics in history[-self.tail :]]
        )


def _mean(accuracies: list[float | None]) -> float | None:
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return fmean(known) if known else None


_Finding = tuple[Verdict, str] | None


def _too_short(curves: _Curves) -> _Finding:
    found = len(curves.epochs)
    if found >= LEAST_EPOCHS:
        return None
    return "too short to tell", f"{found} epoch{'s' if found > 1 else ''}, at least {LEAST_EPOCHS} tell something"


def _unstable(curves: _Curves) -> _Finding:
    """Find a training loss that ends far above its best, or jumps more than once in the second half."""
    best, bound = curves.train[0], JUMP * curves.train[0]
    jumps = []
    for epoch, loss in zip(curves.epochs, curves.train, strict=True):
        if not loss - best <= bound:
            jumps.append(epoch)
        best = min(best, loss)
    last = curves.train[-1]
    if not last - best <= bound:
        return "unstable", f"training loss is {last:.4g} after it was {best:.4g}"
    late = [epoch for epoch in jumps if epoch > curves.epochs[-1] / 2]
    if len(late) > 1:
        return "unstable", f"training loss jumped {len(late)} times since it was halfway, last in epoch {late[-1]}"
    return None


def _no_better_than_chance(curves: _Curves, chance: float) -> _Finding:
    accuracy = curves.accuracy
    if accuracy is None or accuracy > chance + NEAR_CHANCE * (1 - chance):
        return None
    return (
        "underfitting",
        f"no better than always naming the commonest class: {accuracy:.1%} of the training split right, {chance:.1%} "
        "that way",
    )


def _overfitting(curves: _Curves, kept_epoch: int | None) -> _Finding:
    """Find a held-out loss that rises while the training loss falls, or figures far apart at the end."""
    lowest = min(curves.held_out)
    place = curves.held_out.index(lowest)
    last, first = fmean(curves.held_out[-curves.tail :]), curves.held_out[0]
    if last - lowest > max(RISE * lowest, NOISE * first) and curves.train[-1] < curves.train[place]:
        if kept_epoch is not None:
            return None  # early stopping went back to before the rise
        return (
            "overfitting",
            f"{curves.name} loss rose from {lowest:.4g} in epoch {curves.epochs[place]} to {last:.4g}, while training "
            f"loss fell to {curves.train[-1]:.4g}",
        )
    if curves.accuracy is not None and curves.held_out_accuracy is not None:
        if curves.accuracy - curves.held_out_accuracy > ACCURACY_GAP:
            return (
                "overfitting",
                f"{curves.accuracy:.1%} of the training split right, but {curves.held_out_accuracy:.1%} of the "
                f"{curves.name} split",
            )
    elif last - fmean(curves.train[-curves.tail :]) > LOSS_GAP * first:
        return "overfitting", f"training loss is {curves.train[-1]:.4g}, but {curves.name} loss {last:.4g}"
    return None


def _still_improving(curves: _Curves) -> _Finding:
    fifth = max(1, len(curves.held_out) // 5)
    before, after = fmean(curves.held_out[-2 * fifth : -fifth]), fmean(curves.held_out[-fifth:])
    if before - after <= max(FALL * before, NOISE * curves.held_out[0]) or curves.train[-1] >= curves.train[-fifth - 1]:
        return None
    return (
        "still improving",
        f"{curves.name} loss fell from {before:.4g} to {after:.4g} over the last "
        + (f"{fifth} epochs" if fifth > 1 else "epoch"),
    )


def _underfitting(curves: _Curves, chance: float | None) -> _Finding:
    """Find a training split that is badly learnt, though nothing changes any more."""
    if curves.accuracy is not None and chance is not None:
        if curves.accuracy < chance + LOW_ACCURACY * (1 - chance):
            return "underfitting", f"levelled off with {curves.accuracy:.1%} of the training split right"
    elif curves.accuracy is None and curves.train[-1] > LOW_FALL * curves.train[0]:
        return "underfitting", f"training loss only fell from {curves.train[0]:.4g} to {curves.train[-1]:.4g}"
    return None


def _kept(curves: _Curves, kept_epoch: int | None) -> str | None:
    if kept_epoch is None or kept_epoch == curves.epochs[-1]:
        return None
    return f"early stopping kept epoch {kept_epoch}, the lowest of {curves.epochs[-1]} in {curves.chosen_by}"
