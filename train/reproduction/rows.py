"""The notes' tables of epochs as figures: one figure a row, its numbers by the names that `measure` gives ours."""

from collections.abc import Sequence

from train.reproduction.judge import Digits, Figure, Rule

NAMES = {
    "train_loss": "train loss",
    "train_percent": "train accuracy %",
    "test_loss": "test loss",
    "test_percent": "test accuracy %",
    "train_loss_by_batch": "train loss",
    "train_share_by_batch": "train accuracy",
    "test_loss_by_batch": "test loss",
    "test_share_by_batch": "test accuracy",
}
LOSSES = ("train_loss", "test_loss")
LOSSES_AND_PERCENT = ("train_loss", "train_percent", "test_loss", "test_percent")
BY_BATCH = ("train_loss_by_batch", "train_share_by_batch", "test_loss_by_batch", "test_share_by_batch")


def epoch_rows(
    printed: str,
    columns: Sequence[str],
    *,
    source: str,
    rule: Rule | None = None,
    what: str = "",
    first: int = 0,
    skipped: int = 0,
) -> tuple[Figure, ...]:
    """Return one figure per line of a printed table.

    Args:
        printed: Lines of an epoch and its numbers.
        columns: Quantities of the numbers, in order.
        source: Where the table stands in the notes.
        rule: For every row; every digit, unless given.
        what: Put before the name, where a recipe has more than one table.
        first: What the notes call the first epoch.
        skipped: Epochs that were trained before the table starts.
    """
    figures = []
    for line in printed.strip().splitlines():
        epoch, *cells = line.split()
        index = int(epoch) - first + skipped
        figures.append(
            Figure(
                name=f"{what}epoch {epoch}: {', '.join(NAMES[column] for column in columns)}",
                printed=tuple(cells),
                quantities=tuple(f"{column}@{index}" for column in columns),
                rule=rule or Digits(),
                source=source,
            )
        )
    return tuple(figures)


def listed(name: str, printed: str, quantity: str, *, source: str, rule: Rule | None = None) -> Figure:
    """Return a figure of a printed list, whose numbers are ``quantity@0``, ``quantity@1`` and so on."""
    cells = tuple(printed.split())
    return Figure(
        name=name,
        printed=cells,
        quantities=tuple(f"{quantity}@{index}" for index in range(len(cells))),
        rule=rule or Digits(),
        source=source,
    )
