"""Sets of rows that graphs are judged on, and what images, tables and tensors share in making them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluate.plan import Plan

LARGEST_BATCH = 64
SCALES = (0.01, 0.1, 10.0, 100.0)
BOUNDARY = "on the decision boundary"
HOSTILE = "among hostile neighbours"

Kind = Literal["samples", "noise", "scaled", "boundary", "again", "hostile", "sought"]

Arrays = Mapping[str, NDArray[Any]]
Predict = Callable[[Arrays], NDArray[np.int64]]
Blend = Callable[[Arrays, Arrays, NDArray[np.float64]], dict[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputSet:
    """Rows for a graph.

    Attributes:
        name: What the table calls it.
        kind: What sort of rows they are.
        inputs: Arrays by input name, as the graph takes them, ``(rows, …)``.
        batch_size: Rows of one run.
        judged: Rows that count; the others only keep them company. Boolean, ``(rows,)``.
        known: Where each row that counts stands in the set of samples, if it is one of those, ``(rows,)``: its truth is
            known then. What stands here for the others is of no account.
        sizes: Rows of each run, where they differ; `batch_size` is the largest of them.
    """

    name: str
    kind: Kind
    inputs: dict[str, NDArray[Any]]
    batch_size: int
    judged: NDArray[np.bool_]
    known: NDArray[np.int64] | None = None
    sizes: tuple[int, ...] = ()


def count(inputs: Arrays) -> int:
    """Return how many rows there are."""
    return len(next(iter(inputs.values())))


def take(inputs: Arrays, index: NDArray[Any] | slice) -> dict[str, NDArray[Any]]:
    """Return some rows of every input."""
    return {name: values[index] for name, values in inputs.items()}


def first_rows(inputs: Arrays, rows: int) -> dict[str, NDArray[Any]]:
    """Return the first rows of every input, over and over where there are fewer."""
    return take(inputs, np.resize(np.arange(count(inputs)), rows))


def join(first: Arrays, second: Arrays) -> dict[str, NDArray[Any]]:
    """Put rows below others."""
    return {name: np.concatenate([values, second[name]]) for name, values in first.items()}


def require_rows(inputs: Arrays) -> None:
    """Refuse to make sets of nothing.

    Raises:
        ValueError: there are no rows.
    """
    if count(inputs) == 0:
        raise ValueError("there are no held-out samples, but at least one was expected")


def whole(name: str, kind: Kind, inputs: Arrays) -> InputSet:
    """Make a set whose every row counts."""
    judged = np.ones(count(inputs), dtype=np.bool_)
    return InputSet(name=name, kind=kind, inputs=dict(inputs), batch_size=LARGEST_BATCH, judged=judged)


def samples(found: Arrays, filled: Arrays, plan: Plan) -> InputSet:
    """Make the set of samples, which says in its name where they had to be filled up."""
    name = plan.subject if count(filled) == count(found) else f"{plan.subject} and mixtures of them"
    return whole(name, "samples", filled)


def again(filled: Arrays, plan: Plan) -> list[InputSet]:
    """Make one set of the same rows per batch size, and one of a batch of every size."""
    sets = [
        _known_again(f"{plan.subject} again", filled, max(plan.again, size), batch_size=size)
        for size in plan.batch_sizes
    ]
    if plan.every_size:
        sizes = tuple(range(1, LARGEST_BATCH + 1))
        name = f"{plan.subject} at every batch size from 1 to {LARGEST_BATCH}"
        sets.append(_known_again(name, filled, sum(sizes), batch_size=LARGEST_BATCH, sizes=sizes))
    return sets


def _known_again(name: str, filled: Arrays, rows: int, *, batch_size: int, sizes: tuple[int, ...] = ()) -> InputSet:
    known = np.resize(np.arange(count(filled)), rows)
    return InputSet(
        name=name,
        kind="again",
        inputs=take(filled, known),
        batch_size=batch_size,
        judged=np.ones(rows, dtype=np.bool_),
        known=known,
        sizes=sizes,
    )


def among(few: Arrays, before: Arrays, after: Arrays) -> InputSet:
    """Put each of the first samples between two hostile rows, in one batch."""
    mixed = {
        name: np.stack([before[name], values, after[name]], axis=1).reshape(-1, *values.shape[1:])
        for name, values in few.items()
    }
    return InputSet(
        name=HOSTILE,
        kind="hostile",
        inputs=mixed,
        batch_size=LARGEST_BATCH,
        judged=np.tile(np.asarray([False, True, False]), count(few)),
        known=np.repeat(np.arange(count(few)), 3),
    )


def on_boundary(
    rows: Arrays, blend: Blend, *, steps: int, predict: Predict, rng: np.random.Generator, plan: Plan
) -> list[InputSet]:
    """Make the set on the decision boundary, filled up with other rows, or none where all rows are of one class."""
    found = bisect(rows, blend, steps=steps, predict=predict, rng=rng, pairs=plan.rows // 2)
    missing = plan.rows - count(found)
    if missing == plan.rows:
        return []
    # judged by eager's luck on a few values, a right graph could fail
    return [whole(BOUNDARY, "boundary", join(found, first_rows(rows, plan.rows)) if missing > 0 else found)]


def bisect(
    rows: Arrays,
    blend: Blend,
    *,
    steps: int,
    predict: Predict,
    rng: np.random.Generator,
    pairs: int,
) -> dict[str, NDArray[Any]]:
    """Blend pairs of rows until their predicted class is about to change.

    Args:
        rows: Where the pairs are from.
        blend: Makes rows between two others: a share of 0 is all the first.
        steps: How often the way between two rows is halved.
        predict: Class of each row.
        rng: Chooses the pairs.
        pairs: How many at most.

    Returns:
        Rows of either side of the boundary, two a pair; none of the pairs whose ends are of one class.
    """
    first = take(rows, rng.integers(0, count(rows), size=pairs))
    second = take(rows, rng.integers(0, count(rows), size=pairs))
    start = predict(blend(first, second, np.zeros(pairs)))
    differ = start != predict(blend(first, second, np.ones(pairs)))
    first, second, start = take(first, differ), take(second, differ), start[differ]
    if len(start) == 0:
        return first
    near, far = np.zeros(len(start)), np.ones(len(start))
    for _ in range(steps):
        middle = (near + far) / 2
        same = predict(blend(first, second, middle)) == start
        near, far = np.where(same, middle, near), np.where(same, far, middle)
    return join(blend(first, second, near), blend(first, second, far))
