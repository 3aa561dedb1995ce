"""Histories made up for tests, and a watcher that takes note of nothing."""

from collections.abc import Sequence

from train.run import EpochMetrics


class Quiet:
    """A watcher that takes note of nothing."""

    def batch_done(self, epoch: int, totals: object, rows: int) -> None:
        pass

    def epoch_done(self, metrics: EpochMetrics) -> None:
        pass


def make_history(
    train: Sequence[float],
    test: Sequence[float],
    *,
    accuracy: float | None = None,
    test_accuracy: float | None = None,
    validation: Sequence[float] | None = None,
) -> list[EpochMetrics]:
    """Make a history of the given losses; the accuracies are those of every epoch."""
    return [
        EpochMetrics(
            epoch=place + 1,
            train_loss=train[place],
            train_top1_accuracy=accuracy,
            test_loss=test[place],
            test_top1_accuracy=accuracy if test_accuracy is None else test_accuracy,
            duration_s=1.0,
            validation_loss=None if validation is None else validation[place],
            validation_top1_accuracy=None if validation is None else accuracy,
        )
        for place in range(len(train))
    ]
