"""Which samples are worth a look: some by chance, the surest mistakes, and those nearest to another class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.accuracy.run import Outcome
from evaluate.labelled import Labelled
from evaluate.report.findings import Decided, Galleries, Valued
from evaluate.report.show import Shower
from serve.bundle import Manifest

MIX, ERRORS = 24, 16  # images, eight in a row
ROWS = 12  # of a table


def choose_samples(outcome: Outcome, labelled: Labelled, manifest: Manifest, *, seed: int) -> Galleries:
    """Choose samples by what one graph made of them.

    Args:
        outcome: Of the graph.
        labelled: The samples.
        manifest: Of the bundle.
        seed: Decides which of them come by chance.
    """
    shower = Shower(manifest, labelled.inputs)
    rng = np.random.default_rng(seed)
    if manifest.task == "regression":
        return _of_values(outcome, labelled, shower, rng)
    finite = np.flatnonzero(outcome.finite)
    wide = every_class(outcome.outputs["probabilities"])
    order = np.argsort(-wide, axis=1, kind="stable")
    truth = labelled.truth

    def decided(row: int) -> Decided:
        first, second = order[row, 0], order[row, min(1, order.shape[1] - 1)]
        return Decided(
            shown=shower.show(row),
            truth=manifest.labels[truth[row]],
            predicted=manifest.labels[first],
            probability=float(wide[row, first]),
            second=manifest.labels[second],
            second_probability=float(wide[row, second]),
            right=bool(first == truth[row]),
        )

    mix, errors = (MIX, ERRORS) if manifest.preprocessing is not None else (ROWS, ROWS)
    best = wide[finite, order[finite, 0]]
    gap = best - wide[finite, order[finite, min(1, order.shape[1] - 1)]]
    wrong = order[finite, 0] != truth[finite]
    surest = finite[wrong][np.argsort(-best[wrong], kind="stable")]
    return Galleries(
        graph=outcome.graph,
        columns=shower.columns,
        more_columns=shower.more_columns,
        mix=tuple(map(decided, by_chance(finite, mix, rng))),
        confident=tuple(map(decided, surest[:errors])),
        wrong=int(wrong.sum()),
        nearest=tuple(map(decided, finite[np.argsort(gap, kind="stable")][:errors])),
    )


def every_class(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of every class, ``(rows, classes)``; a single one is that of the second."""
    wide = probabilities.astype(np.float64)
    return np.concatenate([1 - wide, wide], axis=1) if wide.shape[1] == 1 else wide


def by_chance(places: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most so many of the places, in their order."""
    return np.sort(rng.permutation(places)[:most])


def _of_values(outcome: Outcome, labelled: Labelled, shower: Shower, rng: np.random.Generator) -> Galleries:
    truth = labelled.truth.astype(np.float64)
    predicted = outcome.outputs["prediction"].astype(np.float64)
    finite = np.flatnonzero(outcome.finite)
    spread = truth.std(axis=0)
    error = (np.abs(predicted - truth)[finite] / np.where(spread > 0, spread, 1)).max(axis=1)

    def valued(row: int) -> Valued:
        return Valued(shown=shower.show(row), truth=tuple(truth[row]), predicted=tuple(predicted[row]))

    return Galleries(
        graph=outcome.graph,
        columns=shower.columns,
        more_columns=shower.more_columns,
        values=tuple(map(valued, by_chance(finite, ROWS, rng))) if len(finite) > ROWS else (),
        furthest=tuple(map(valued, finite[np.argsort(-error, kind="stable")][:ROWS])),
    )
