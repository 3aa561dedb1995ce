"""Means over batches of means over rows, as the notes report them: the short last batch counts like a full one."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from train.loop import Batches, Totals, decide, mean_loss
from train.recipes.recipe import Loss
from train.run import EpochMetrics

BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Loss, and the share of rows named rightly, in [0, 1]."""

    loss: float
    share: float


def by_batch(
    network: nn.Module, input_module: nn.Module, rows: Batches, *, loss: Loss, batch_size: int = BATCH
) -> Means:
    """Test a classifier as the notes do, batch by batch in the order of the rows; it is left in evaluation mode."""
    network.eval()
    losses, shares = [], []
    with torch.inference_mode():
        for inputs, targets in _batches(rows, batch_size):
            logits = network(input_module(inputs))
            losses.append(mean_loss(logits, targets, loss).item())
            shares.append((decide(logits) == targets).double().mean().item())
    return Means(loss=sum(losses) / len(losses), share=sum(shares) / len(shares))


def share_of_one_answer(targets: Tensor, class_index: int, *, batch_size: int = BATCH) -> tuple[float, float]:
    """Return the accuracy of always naming one class: over batches, and over rows."""
    right = (targets == class_index).double()
    parts = [part.mean().item() for part in torch.split(right, batch_size)]
    return sum(parts) / len(parts), right.mean().item()


class BatchWatcher:
    """A `train.loop.Watcher` that keeps the mean over batches of each epoch's training loss and accuracy."""

    def __init__(self) -> None:
        self.epochs: list[Means] = []
        self._batches: list[tuple[float, float]] = []
        self._before = (0, 0.0, 0.0)

    def batch_done(self, epoch: int, totals: Totals, rows: int) -> None:  # noqa: ARG002 - the signature of a watcher
        """Take the batch out of the sums so far."""
        loss, share = totals.means()
        sums = totals.rows, loss * totals.rows, (share or 0.0) * totals.rows
        count = sums[0] - self._before[0]
        self._batches.append(((sums[1] - self._before[1]) / count, (sums[2] - self._before[2]) / count))
        self._before = sums

    def epoch_done(self, metrics: EpochMetrics) -> None:  # noqa: ARG002 - the signature of a watcher
        """End the epoch."""
        losses, shares = zip(*self._batches, strict=True)
        self.epochs.append(Means(loss=sum(losses) / len(losses), share=sum(shares) / len(shares)))
        self._batches, self._before = [], (0, 0.0, 0.0)


def _batches(rows: Batches, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(torch.split(rows.inputs, size), torch.split(rows.targets, size), strict=True)
