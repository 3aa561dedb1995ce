"""A runtime that rounds more coarsely than PyTorch, told from a graph that is wrong: computed in float64, it is right.

ONNX Runtime adds the values of a mean one after the other, and is up to 5.6 units in the last place off where tanh and
sigmoid are saturated; PyTorch adds in pairs, and is exact there. Of 360 comparisons of right exports (120 networks
with upsampling, normalisation and saturating activations, at three scales of their inputs), 25 were beyond the rule's
bounds, one of them 51 times. Computed in float64, the same graphs used a tenth of the bounds at most.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluate.certificate import Comparison
from evaluate.inputs import Arrays, InputSet, take
from evaluate.truth import Truth
from export.module_runner import run_batches
from serve.parity import COARSEST
from serve.runner import Runner

# of the bounds, that the graph may use up in float64, where rounding is left in nothing but weights that were merged
_SHARE = 1 / 3
_ROWS = 64
_ROUND_UP = 1 + 1e-6


class Compare(Protocol):
    """Compares outputs with the truth, within bounds that are so many times as wide."""

    def __call__(self, outputs: Arrays, truth: Truth, *, slack: float) -> list[Comparison]:
        """Compare."""
        ...


def excuse(
    found: list[Comparison],
    *,
    outputs: Arrays,
    truth: Truth,
    double: Callable[[], Runner] | None,
    compare: Compare,
) -> list[Comparison]:
    """Compare once more, within wider bounds, where nothing but the runtime's rounding is to blame.

    Args:
        found: The comparisons of one graph on one input set.
        outputs: What the graph gave.
        truth: What it should have given.
        double: Makes what runs the same graph in float64; None where nothing does.
        compare: How they were compared.

    Returns:
        The comparisons within bounds as many times as wide as is needed, 64 at most, if in float64 the graph keeps a
        third of the bounds on the 64 rows where its error is greatest, in the batches they came in; else `found`.
    """
    failed = [comparison for comparison in found if comparison.verdict == "fail"]
    if double is None or not failed or any(comparison.rmse_bound is None for comparison in failed):
        return found
    if any(outputs[comparison.output].dtype.kind != "f" for comparison in failed):
        return found
    slack = max(map(_ratio, found)) * _ROUND_UP
    if not 1 < slack <= COARSEST:
        return found
    part = _worst_batches(outputs, truth)
    try:
        exact = run_batches(double(), part.inputs.inputs, batch_size=part.inputs.batch_size, sizes=part.inputs.sizes)
    except Exception:  # noqa: BLE001 - ONNX's reference implementation raises whatever its operators do
        return found
    narrow = {name: values.astype(outputs[name].dtype) for name, values in exact.items()}
    if any(comparison.verdict == "fail" for comparison in compare(narrow, part, slack=_SHARE)):
        return found
    return [replace(comparison, slack=slack) for comparison in compare(outputs, truth, slack=slack)]


def rounding_note(comparisons: list[Comparison]) -> str | None:
    """Say how coarsely a runtime rounds, where that was more than the rule allows."""
    slack = max((comparison.slack for comparison in comparisons), default=1.0)
    if slack <= 1:
        return None
    return (
        f"its rounding goes {slack:.1f} times beyond the bounds, but the same graph keeps a third of them when it is "
        "computed in float64: the runtime is coarse, and the graph is right"
    )


def _ratio(comparison: Comparison) -> float:
    """Return the largest of error / bound; where nothing was compared, infinity."""
    pairs = ((comparison.rmse, comparison.rmse_bound), (comparison.max_error, comparison.max_bound))
    if any(error is None or bound is None for error, bound in pairs):
        return float("inf")
    own = [0.0 if not error else error / bound if bound else float("inf") for error, bound in pairs]
    return max(*own, comparison.apart_ratio or 0.0)


def _worst_batches(outputs: Arrays, truth: Truth) -> Truth:
    """Return whole batches, those with the rows whose errors are greatest first, until there are 64 rows."""
    inputs = truth.inputs
    rows = len(inputs.judged)
    ends = np.cumsum(inputs.sizes) if inputs.sizes else np.append(np.arange(0, rows, inputs.batch_size)[1:], rows)
    errors = np.where(inputs.judged, _errors(outputs, truth), 0.0)
    chosen: list[int] = []
    taken = 0
    for row in np.argsort(-errors, kind="stable"):
        batch = int(np.searchsorted(ends, row, side="right"))
        if batch not in chosen:
            chosen.append(batch)
            taken += int(ends[batch] - (ends[batch - 1] if batch else 0))
        if taken >= _ROWS:
            break
    kept = np.isin(np.searchsorted(ends, np.arange(rows), side="right"), chosen)
    sizes = tuple(int(ends[batch] - (ends[batch - 1] if batch else 0)) for batch in sorted(chosen))
    part: InputSet = replace(
        inputs, inputs=take(inputs.inputs, kept), judged=inputs.judged[kept], known=None, sizes=sizes
    )
    return Truth(inputs=part, reference=take(truth.reference, kept), eager=take(truth.eager, kept))


def _errors(outputs: Arrays, truth: Truth) -> NDArray[np.float64]:
    """Return each row's greatest error over all outputs, each in units of PyTorch's own greatest."""
    found = np.zeros(len(truth.inputs.judged))
    for name, reference in truth.reference.items():
        own = np.abs(truth.eager[name].astype(np.float64) - reference).max()
        errors = np.abs(outputs[name].astype(np.float64) - reference).reshape(len(reference), -1).max(axis=1)
        found = np.maximum(found, errors / max(float(own), float(np.spacing(np.float32(np.abs(reference).max())))))
    return found
