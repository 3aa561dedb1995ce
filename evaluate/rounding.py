"""A runtime that rounds more coarsely than PyTorch, told from a graph that is wrong.

ONNX Runtime adds the values of a mean one after the other, and is up to 5.6 units in the last place off where tanh
and sigmoid are saturated; PyTorch adds in pairs, and is exact there. Of 360 comparisons of right exports (120 networks
with upsampling, normalisation and saturating activations, at three scales of their inputs), 25 were beyond the bounds,
one of them 51 times. Whose fault it is, ONNX's own reference implementation tells, which runs the same graph with
NumPy: in float64, where a right graph is right to the rounding of weights that were merged; and in float32, where a
graph that is right but unstable, a variance as E[x²] - E[x]² say, is as far off as in ONNX Runtime.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluate.graph_verdict import Comparison
from evaluate.inputs import Arrays, take
from evaluate.ratios import ratio, worst_slack
from evaluate.reference_graph import ReferenceRunners
from evaluate.truth import Truth
from export.module_runner import run_batches
from serve.parity import COARSEST, NumericParity, rms, row_parity

# of the bounds, that the graph may use up in float64, where rounding is left in nothing but weights that were merged
_SHARE_OF_FLOAT64 = 1 / 3
_ROWS = 64
_ROUND_UP = 1 + 1e-6


# of all values, or of each column; which index takes those, and what PyTorch's own error allows there
Bounds = list[tuple[EllipsisType | tuple[slice, slice], NumericParity]]


class Compare(Protocol):
    """Compares outputs with the truth, some of them within bounds that are so many times as wide."""

    def __call__(self, outputs: Arrays, truth: Truth, *, slack: Mapping[str, float]) -> list[Comparison]:
        """Compare."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Some batches of an input set.

    Attributes:
        inputs: Their rows.
        sizes: Rows of each batch.
        rows: Where the rows stand in the set, ``(rows,)``.
        judged: Which of them count, ``(rows,)``.
    """

    inputs: dict[str, NDArray[Any]]
    sizes: tuple[int, ...]
    rows: NDArray[np.int64]
    judged: NDArray[np.bool_]


def excuse(
    found: list[Comparison],
    *,
    outputs: Arrays,
    truth: Truth,
    references: ReferenceRunners | None,
    compare: Compare,
) -> list[Comparison]:
    """Compare once more, within wider bounds, where nothing but the runtime's rounding is to blame.

    Args:
        found: The comparisons of one graph on one input set.
        outputs: What the graph gave.
        truth: What it should have given.
        references: Run the same graph with other arithmetic; None where nothing does.
        compare: How they were compared.

    Returns:
        The comparisons, with bounds as many times as wide as each output needs, 64 at most, if ONNX's reference
        implementation keeps the bounds in float32, and a third of them in float64, on the 64 judged rows that are
        furthest beyond them, in the batches they came in; else `found`. Bounds are those of the whole set.
    """
    failed = [comparison for comparison in found if comparison.verdict == "fail"]
    if references is None or not failed or not all(_is_only_far(comparison, outputs) for comparison in failed):
        return found
    slack = {comparison.output: _ROUND_UP * (ratio(comparison) or 0.0) for comparison in failed}
    if max(slack.values()) > COARSEST:
        return found
    bounds = {name: _bounds(truth, name) for name in truth.reference if outputs[name].dtype.kind == "f"}
    part = _worst_batches(outputs, truth, bounds)
    for make, share in ((references.float64, _SHARE_OF_FLOAT64), (references.float32, 1.0)):
        try:
            given = run_batches(make(), part.inputs, batch_size=max(part.sizes), sizes=part.sizes)
        except Exception:  # noqa: BLE001 - ONNX's reference implementation raises whatever its operators do
            return found
        if not all(_keeps(given[name], truth, name, part, bounds[name], share=share) for name in bounds):
            return found
    return compare(outputs, truth, slack=slack)


def rounding_note(comparisons: list[Comparison]) -> str | None:
    """Say how coarsely a runtime rounds, where that was more than the rule allows."""
    slack = worst_slack(comparisons)
    if slack <= 1:
        return None
    return (
        f"its rounding goes up to {slack:.1f} times beyond the bounds, but the same graph keeps them when ONNX's "
        "reference implementation runs it: the runtime is coarse, and the graph is right"
    )


def _is_only_far(comparison: Comparison, outputs: Arrays) -> bool:
    """Return whether the bounds of the rows that are not judged apart, and nothing else, were broken."""
    apart = comparison.apart_ratio is None or comparison.apart_ratio <= 1
    return apart and outputs[comparison.output].dtype.kind == "f" and (ratio(comparison) or 0.0) > 1


def _bounds(truth: Truth, name: str) -> Bounds:
    """Return the bounds of an output, from all judged rows; of a regression, those of each target by itself."""
    judged = truth.inputs.judged
    eager, reference = truth.eager[name][judged], truth.reference[name][judged]
    if name != "prediction" or reference.ndim == 1:
        return [(..., row_parity(eager, eager=eager, reference=reference))]
    columns = [(slice(None), slice(index, index + 1)) for index in range(reference.shape[1])]
    return [(c, row_parity(eager[c], eager=eager[c], reference=reference[c])) for c in columns]


def _worst_batches(outputs: Arrays, truth: Truth, bounds: Mapping[str, Bounds]) -> _Part:
    """Return whole batches, those with the rows furthest beyond their bounds first, until 64 judged rows are there."""
    inputs = truth.inputs
    rows = len(inputs.judged)
    sizes = np.asarray(inputs.sizes or [inputs.batch_size] * -(-rows // inputs.batch_size))
    batches = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    places = np.flatnonzero(inputs.judged)
    beyond = np.zeros(len(places))
    for name, columns in bounds.items():
        for column, own in columns:
            errors = _row_errors(outputs[name][places][column], truth.reference[name][places][column])
            beyond = np.maximum(beyond, errors / np.maximum(own.row_bound, np.finfo(np.float64).tiny))
    worst = places[np.argsort(-beyond, kind="stable")][:_ROWS]
    chosen: list[int] = []
    for row in worst:
        if batches[row] not in chosen:
            chosen.append(int(batches[row]))
        if inputs.judged[np.isin(batches, chosen)].sum() >= _ROWS:
            break
    kept = np.flatnonzero(np.isin(batches, chosen))
    return _Part(
        inputs=take(inputs.inputs, kept),
        sizes=tuple(int((batches[kept] == batch).sum()) for batch in sorted(chosen)),
        rows=kept,
        judged=inputs.judged[kept],
    )


def _keeps(
    given: NDArray[Any],
    truth: Truth,
    name: str,
    part: _Part,
    bounds: Bounds,
    *,
    share: float,
) -> bool:
    """Return whether what an output was given as keeps a share of the bounds of the whole set, on every judged row."""
    reference = truth.reference[name]
    if given.shape != (len(part.rows), *reference.shape[1:]) or not np.isfinite(given[part.judged]).all():
        return False
    judged = part.rows[part.judged]
    among = np.flatnonzero(truth.inputs.judged)
    for column, own in bounds:
        found, expected = given[part.judged][column], reference[judged][column]
        allowed = np.broadcast_to(own.row_bound, among.shape)[np.searchsorted(among, judged)]
        apart = np.zeros(among.shape, np.bool_) if own.apart is None else own.apart
        sound = ~apart[np.searchsorted(among, judged)]
        error = found.astype(np.float64) - expected
        if not (_row_errors(found, expected) <= share * allowed).all():
            return False
        if sound.any() and not rms(error[sound]) <= share * own.rmse_bound:
            return False
    return len(judged) > 0


def _row_errors(found: NDArray[Any], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the greatest absolute error of each row."""
    error = np.abs(found.astype(np.float64) - expected)
    greatest: NDArray[np.float64] = error.reshape(len(error), -1).max(axis=1)
    return greatest
