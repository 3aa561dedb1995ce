"""When to stop, and which epoch to keep: by the validation loss, never by the test split."""

from collections.abc import Sequence

from train.run import EpochMetrics


def best_epoch(history: Sequence[EpochMetrics]) -> int:
    """Return the first epoch with the lowest validation loss, weighted where training is.

    Raises:
        ValueError: an epoch has no validation loss, or there is no epoch.
    """
    losses = []
    for metrics in history:
        if metrics.choosing_loss is None:
            raise ValueError(f"epoch {metrics.epoch} has no validation loss; the test split is not used to choose")
        losses.append((metrics.choosing_loss, metrics.epoch))
    return min(losses)[1]


def patience_is_spent(history: Sequence[EpochMetrics], patience: int | None) -> bool:
    """Return whether the validation loss has not improved for ``patience`` epochs; never, where that is None."""
    return patience is not None and history[-1].epoch - best_epoch(history) >= patience
