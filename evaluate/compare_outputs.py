"""Every output of one graph on one input set, by the rule: the comparisons that a verdict is made of."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.compare import DecisionParity, decision_parity, vacuity
from evaluate.grain import decimals_of
from evaluate.graph_verdict import Comparison, Verdict
from evaluate.inputs import Arrays
from evaluate.rounding import excuse
from evaluate.runners import Candidate
from evaluate.truth import Truth
from serve.output_parity import output_parity
from serve.parity import row_parity


def compare_graph(
    candidate: Candidate, outputs: Arrays, truth: Truth, *, must_vary: bool, decisive: str | None
) -> list[Comparison]:
    """Compare every output of one graph on one input set, and tell coarse rounding from a graph that is wrong."""
    exact = candidate.precision == "float32"
    compare = partial(compare_outputs, must_vary=must_vary, decisive=decisive, exact=exact)
    found = compare(outputs, truth)
    if not exact:
        return found
    return excuse(found, outputs=outputs, truth=truth, references=candidate.references, compare=compare)


def compare_outputs(
    outputs: Arrays,
    truth: Truth,
    *,
    must_vary: bool,
    decisive: str | None,
    exact: bool = True,
    slack: Mapping[str, float] | None = None,
) -> list[Comparison]:
    """Compare every output of one graph on one input set.

    Args:
        outputs: What the graph gave.
        truth: What it should have given.
        must_vary: Whether agreeing must prove something.
        decisive: The output that decides.
        exact: Whether errors have a bound; where not, they are recorded.
        slack: How many times as wide as the rule's the bounds of some outputs are; the rule's own are recorded.
    """
    judged = truth.inputs.judged
    graph = {name: values[judged] if len(values) == len(judged) else values for name, values in outputs.items()}
    eagers = {name: values[judged] for name, values in truth.eager.items()}
    references = {name: values[judged] for name, values in truth.reference.items()}
    if not judged.any():
        return [_nothing(name, truth) for name in references]
    found = []
    for name, expected in references.items():
        candidate, eager = graph[name], eagers[name]
        # of rows that were sought because PyTorch is at its worst there, none are unlike the others
        apart = truth.inputs.kind != "sought"
        strict = output_parity(name, graph, eager=eagers, reference=references, apart=apart)
        factor = (slack or {}).get(name, 1.0)
        numeric = strict.widened(factor)
        decision: DecisionParity | None = None
        faults = [numeric.fault] if numeric.fault is not None else []
        empty = None
        if numeric.fault is None:
            if exact and not numeric.passed:
                faults.append(numeric.sentence)
            if exact and expected.dtype.kind == "f":
                decimals = decimals_of(candidate, eager=eager, reference=expected)
                if decimals is not None:
                    faults.append(f"all values are multiples of {10.0**-decimals:g}, and PyTorch's are not")
            if name == decisive:
                decision = decision_parity(candidate, expected, allowed_error=numeric.row_bound)
                if exact and not decision.passed:
                    faults.append(f"{decision.flips_beyond_margin} of {decision.rows} decisions differ")
            if must_vary:
                empty = _missing(truth) or _emptiness(name, eager, expected, allowed_error=numeric.max_bound)
        verdict: Verdict = "fail" if faults else "unproven" if empty else "pass"
        finite = numeric.fault is None
        found.append(
            Comparison(
                input_set=truth.inputs.name,
                batch_size=min(truth.inputs.batch_size, len(truth.inputs.judged)),
                rows=len(expected),
                output=name,
                rmse=numeric.rmse if finite else None,
                rmse_bound=strict.rmse_bound if finite and exact else None,
                max_error=numeric.max_error if finite else None,
                max_bound=strict.max_bound if finite and exact else None,
                rows_apart=int(numeric.apart.sum()) if numeric.apart is not None else 0,
                apart_ratio=numeric.outliers.ratio if numeric.outliers is not None and exact else None,
                flips=decision.flips if decision else None,
                flips_beyond_margin=decision.flips_beyond_margin if decision and exact else None,
                unflippable_share=decision.unflippable_share if decision else None,
                flip_rate_upper_95=decision.flip_rate_upper_95 if decision else None,
                verdict=verdict,
                reason="; ".join(faults) or empty,
                slack=factor,
                column=numeric.column,
            )
        )
    return found


def _nothing(output: str, truth: Truth) -> Comparison:
    """Return the comparison of no rows at all."""
    return Comparison(
        input_set=truth.inputs.name,
        batch_size=min(truth.inputs.batch_size, len(truth.inputs.judged)),
        rows=0,
        output=output,
        rmse=None,
        rmse_bound=None,
        max_error=None,
        max_bound=None,
        flips=None,
        flips_beyond_margin=None,
        unflippable_share=None,
        flip_rate_upper_95=None,
        verdict="unproven",
        reason=_missing(truth),
    )


def _missing(truth: Truth) -> str | None:
    """Return how many samples there is no reference for, as PyTorch itself gives no finite outputs, if any."""
    judged = truth.inputs.judged
    missing = len(judged) - int(judged.sum())
    return f"PyTorch itself gives no finite outputs for {missing} of {len(judged)} rows" if missing else None


def _emptiness(name: str, eager: NDArray[Any], reference: NDArray[np.float64], *, allowed_error: float) -> str | None:
    """Return why agreeing with an output would prove nothing; of a regression, each target must prove something."""
    if eager.dtype.kind in "iu":
        return vacuity(reference, allowed_error=0.0)
    if name != "prediction" or reference.ndim != 2 or reference.shape[1] == 1:
        return vacuity(reference, allowed_error=allowed_error)
    for index in range(reference.shape[1]):
        column = slice(index, index + 1)
        own = row_parity(eager[:, column], eager=eager[:, column], reference=reference[:, column])
        why = vacuity(reference[:, column], allowed_error=own.max_bound)
        if why is not None:
            return f"target {index + 1}: {why}"
    return None
