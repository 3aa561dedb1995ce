"""A validation split: part of the training rows, set aside to choose by, so that the test split is not."""

import numpy as np
from numpy.typing import NDArray

from train.dataset import DataError, Split


def set_aside(split: Split, share: float, *, seed: int) -> tuple[Split, Split]:
    """Split training rows in two; of each class the same share, as near as whole rows allow.

    Args:
        split: The training split.
        share: Of its rows to set aside, in (0, 1).
        seed: Decides which.

    Returns:
        The rows to train on and the rows set aside, both in the order of the split.

    Raises:
        DataError: one of the two would be empty, or a class would have no row left to train on.
    """
    wanted = round(share * len(split))
    if not 0 < wanted < len(split):
        raise DataError(
            f"validation {share:g} of {len(split)} training rows is {wanted} rows, but at least one was expected on "
            "either side; give another --validation"
        )
    chance = np.random.default_rng(seed)
    groups = _classes(split)
    chosen = np.zeros(len(split), dtype=bool)
    if wanted > len(split) - len(groups):
        raise DataError(
            f"validation {share:g} of {len(split)} training rows is {wanted} rows, which leaves one of the "
            f"{len(groups)} classes no row to train on; give a smaller --validation"
        )
    shuffled = [chance.permutation(rows) for rows in groups]
    for rows, count in zip(shuffled, _shares([len(rows) for rows in groups], wanted, chance), strict=True):
        chosen[rows[:count]] = True
    return _rows(split, ~chosen), _rows(split, chosen)


def _classes(split: Split) -> list[NDArray[np.intp]]:
    """Return the rows of each class that has any; of values, all rows."""
    if split.targets.ndim == 2:
        return [np.arange(len(split))]
    return [np.flatnonzero(split.targets == class_index) for class_index in np.unique(split.targets)]


def _shares(counts: list[int], wanted: int, chance: np.random.Generator) -> list[int]:
    """Share ``wanted`` rows out in proportion to the counts, largest remainders first; each count keeps one.

    Among equal remainders chance decides: the first class is not always the one that gives more.
    """
    total = sum(counts)
    shares = [min(count * wanted // total, count - 1) for count in counts]
    lots = chance.permutation(len(counts))
    by_remainder = sorted(range(len(counts)), key=lambda index: (-(counts[index] * wanted % total), lots[index]))
    while sum(shares) < wanted:
        for index in by_remainder:
            if sum(shares) < wanted and shares[index] < counts[index] - 1:
                shares[index] += 1
    return shares


def _rows(split: Split, chosen: NDArray[np.bool_]) -> Split:
    return Split(inputs=split.inputs[chosen], targets=split.targets[chosen])
