"""Whether a row's answer is its own: the same whatever rows are beside it, in the eager module and in a graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.certificate import Check
from evaluate.inputs import InputSet
from evaluate.truth import Truth
from serve.parity import rms, row_parity

# how many times the bound of parity the eager module itself may be off, in other company: rounding alone stays below 1
_EAGER_SLACK = 10.0
# a graph of reduced precision may change by this share of its whole error: a few values cross a rounding step
_NEIGHBOUR_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a graph made of one input set."""

    truth: Truth
    outputs: dict[str, NDArray[Any]]


def independence_check(truths: Sequence[Truth], *, row_independent: bool) -> Check:
    """Hold the eager module's answers in other batches against those it gave to the same rows in the first set.

    The truth of those rows is known from there. Were the module to mix rows, its own error against it would be the
    mixing, and a graph that mixes as it does would be allowed as much.
    """
    name = "rows"
    if not row_independent:
        return Check(name=name, passed=True, detail="the bundle says that they depend on each other; run one at a time")
    first = truths[0]
    for truth in truths[1:]:
        inputs = truth.inputs
        if inputs.known is None:
            continue
        rows = inputs.judged
        for output, reference in truth.reference.items():
            if len(reference) != len(rows):
                continue  # an output that has no row of its own for each input
            usual = first.eager[output][inputs.known][rows]
            parity = row_parity(truth.eager[output][rows], eager=usual, reference=reference[rows])
            if parity.fault is None and parity.ratio <= _EAGER_SLACK:
                continue
            return Check(
                name=name,
                passed=False,
                detail=(
                    f"the eager module gives other {output} for the same rows {inputs.name} at batch size "
                    f"{inputs.batch_size} ({parity.sentence}), but the manifest says that rows do not depend on each "
                    "other; export it again, or mend what mixes them"
                ),
            )
    return Check(name=name, passed=True, detail="eager PyTorch gives the same answers in any batch")


def neighbours_change(outcomes: Sequence[Outcome]) -> str | None:
    """Return why a row's output depends on who else is in its batch, or None where it does not.

    A scale that is measured over the batch at hand makes the answer to one user depend on what others send. Another
    order of summation may push a few values over a rounding step; that is far less than the rounding itself.

    Args:
        outcomes: What a graph made of every input set.
    """
    alone = next((o for o in outcomes if o.truth.inputs.kind == "again" and o.truth.inputs.batch_size == 1), None)
    if alone is None:
        return None
    for other in outcomes:
        inputs = other.truth.inputs
        if inputs.kind not in {"again", "hostile"}:
            continue
        mine, theirs = _common(alone.truth.inputs, inputs)
        if not len(mine):
            return f"no row of {inputs.name} at batch size {inputs.batch_size} was also run alone, so nothing is proven"
        for name, values in other.outputs.items():
            if len(values) != len(inputs.judged):
                continue
            expected = alone.outputs[name][mine].astype(np.float64)
            difference = rms(values[theirs].astype(np.float64) - expected)
            own = rms(expected - alone.truth.reference[name][mine])
            floor = float(np.spacing(np.float32(np.abs(expected).max())))
            if not difference <= _NEIGHBOUR_SHARE * max(own, floor):
                return (
                    f"{name} of a row depends on the other rows of its batch: {inputs.name} at batch size "
                    f"{inputs.batch_size}, it changes by rms {difference:.3g}, and its whole error is {own:.3g}; "
                    "quantise with fixed ranges"
                )
    return None


def _common(one: InputSet, other: InputSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where rows of two sets stand that are the same sample and judged in both, each of them once or more."""
    places = {sample: place for place, sample in _samples(one).items() if one.judged[place]}
    pairs = [
        (places[sample], place) for place, sample in _samples(other).items() if other.judged[place] and sample in places
    ]
    mine, theirs = zip(*pairs, strict=True) if pairs else ((), ())
    return np.asarray(mine, dtype=np.int64), np.asarray(theirs, dtype=np.int64)


def _samples(inputs: InputSet) -> dict[int, int]:
    """Return which sample stands at each place of a set."""
    known = range(len(inputs.judged)) if inputs.known is None else inputs.known
    return {place: int(sample) for place, sample in enumerate(known)}
