"""A right graph where PyTorch had luck, told from a wrong one: judged by what PyTorch's rounding is as a rule."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.graph_verdict import Comparison
from evaluate.inputs import Arrays
from evaluate.ratios import ratio
from evaluate.truth import Truth
from serve.output_parity import activate, are_activated

_MOST_UNDECIDED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likely:
    """Outputs and the truth, as they would be compared if PyTorch had neither good luck nor bad.

    Attributes:
        outputs: Those of the graph; integers that rounding leaves open, and that PyTorch might have given, are right.
        truth: Eager's error on each value is the root mean square of many draws, or its own where that is greater.
        undecided: Which share of each output of integers is left open.
    """

    outputs: Arrays
    truth: Truth
    undecided: dict[str, float]


def with_usual_luck(
    found: list[Comparison], *, outputs: Arrays, truth: Truth, compare: Callable[[Arrays, Truth], list[Comparison]]
) -> list[Comparison]:
    """Compare once more where a graph is too far off, with PyTorch's error as it is as a rule in place of one draw.

    Args:
        found: The comparisons of one graph on one input set.
        outputs: What the graph gave.
        truth: What it should have given.
        compare: Compares by the rule, as `found` was.

    Returns:
        The comparisons.
    """
    failed = [comparison for comparison in found if comparison.verdict == "fail"]
    if truth.redraw is None or not failed or any(_is_broken(one, outputs, truth) for one in failed):
        return found
    likely = as_a_rule(outputs, truth)
    if likely is None:
        return found
    again = {one.output: one for one in compare(likely.outputs, likely.truth)}
    must_prove = truth.inputs.kind == "samples"
    return [_settled(one, again[one.output], likely.undecided.get(one.output, 0.0), must_prove) for one in found]


def as_a_rule(outputs: Arrays, truth: Truth) -> Likely | None:
    """Return the same with PyTorch's rounding as it is as a rule; None where it cannot be drawn again."""
    drawn = truth.redraw.drawn() if truth.redraw is not None else None
    if drawn is None or not drawn.rounded:
        return None
    given, eager, undecided = dict(outputs), dict(truth.eager), {}
    for name, reference in truth.reference.items():
        rounded, ordered = ([one[name] for one in draws] for draws in (drawn.rounded, drawn.ordered))
        if any(values.shape != reference.shape for values in (*rounded, *ordered)):
            return None
        if eager[name].dtype.kind not in "iu":
            eager[name] = _usual(eager[name], reference, rounded)
            continue
        open_, admitted = _open(outputs[name], reference, [*rounded, *ordered, eager[name]])
        undecided[name] = float(open_[truth.inputs.judged].mean())
        given[name] = np.where(admitted, reference, outputs[name]).astype(outputs[name].dtype)
        eager[name] = np.where(open_, reference, eager[name]).astype(eager[name].dtype)
    if "probabilities" in eager and are_activated(truth.eager, truth.reference):
        own = truth.eager["probabilities"] - activate(truth.eager["logits"])
        eager["probabilities"] = (activate(eager["logits"]) + own).astype(np.float32)
    return Likely(outputs=given, truth=replace(truth, eager=eager), undecided=undecided)


def _settled(one: Comparison, again: Comparison, undecided: float, must_prove: bool) -> Comparison:
    if one.verdict != "fail":
        return one
    settled = one if again.verdict == "fail" else replace(again, luck=max(1.0, ratio(one) or 1.0))
    if undecided <= _MOST_UNDECIDED or not (must_prove or settled is one):
        return settled
    why = (
        f"{undecided:.0%} of its values are left open by scores that are equal, or by PyTorch's own rounding, so "
        "agreeing proves little; return the scores in its place, and choose from them outside the graph"
    )
    if settled is one:
        return replace(one, reason=f"{one.reason}; {why}")
    return replace(settled, verdict="unproven", reason=why)


def _is_broken(comparison: Comparison, outputs: Arrays, truth: Truth) -> bool:
    """Return whether it has nothing to do with rounding: another shape or dtype, or no number."""
    name = comparison.output
    return comparison.rmse is None or outputs[name].shape != truth.reference[name].shape


def _usual(eager: NDArray[Any], reference: NDArray[np.float64], drawn: list[NDArray[Any]]) -> NDArray[np.float32]:
    """Return an answer that is as far off as eager's, or as those that were drawn are in the mean of squares."""
    error = eager.astype(np.float64) - reference
    squares = np.square(np.stack(drawn).astype(np.float64) - reference)
    known = np.isfinite(squares)
    size = np.sqrt(np.where(known, squares, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    likely: NDArray[np.float32] = (reference + np.copysign(np.maximum(np.abs(error), size), error)).astype(np.float32)
    return likely


def _open(
    outputs: NDArray[Any], reference: NDArray[Any], drawn: list[NDArray[Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which integers luck decides, and where what the graph gives there is what luck might have given."""
    stacked = np.stack([*drawn, reference.astype(drawn[0].dtype)])
    left_open = (stacked != stacked[0]).any(axis=0)
    admitted = np.zeros_like(left_open)
    for row, places in enumerate(left_open):
        admitted[row] = places & np.isin(outputs[row], stacked[:, row][:, places])
    return left_open, admitted
