"""How many rows each class has, whether that is uneven, and weights that make up for it."""

import numpy as np
from numpy.typing import NDArray

from train.dataset import DataError, Split

UNEVEN = 1.5  # the largest class has more than so many times the rows of the smallest


def count_classes(split: Split, classes: int) -> tuple[int, ...]:
    """Return the rows of each class of a split with class indices."""
    return tuple(int(count) for count in np.bincount(split.targets, minlength=classes))


def balanced_weights(split: Split, labels: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the weight of each class, ``(classes,)``: rows / (classes * rows of the class).

    Raises:
        DataError: a class has no rows.

    Source: `sklearn.utils.class_weight.compute_class_weight("balanced", ...)`.
    """
    counts = np.array(count_classes(split, len(labels)))
    if not counts.all():
        raise DataError(
            f"class {labels[int(counts.argmin())]} has no training rows, but a balanced weight needs some; "
            "give --class-weights none"
        )
    return (len(split) / (len(labels) * counts)).astype(np.float32)


def describe_unevenness(split: Split, labels: tuple[str, ...]) -> str | None:
    """Return one sentence with counts and remedy where the classes of a split are uneven, else None."""
    counts = count_classes(split, len(labels))
    if max(counts) <= UNEVEN * min(counts):
        return None
    shown = ", ".join(f"{label} {count:,}" for label, count in zip(labels, counts, strict=True))
    return (
        f"the classes are uneven ({shown}), and the commonest may be favoured; "
        "give --class-weights balanced, or gather more of the rare ones"
    )
