"""The certificate as rows of a table: the worst of each input set, beside what it may be."""

import math
from dataclasses import dataclass
from itertools import groupby

from evaluate.certificate import Comparison, GraphVerdict, Verdict
from serve.parity import MAX_FACTOR, RMSE_FACTOR

_WORSE: tuple[Verdict, ...] = ("unproven", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """One input set of one graph: the worst over its outputs and batch sizes.

    Attributes:
        input_set: Its name.
        batch_sizes: Rows of one run.
        rows: Rows compared at each batch size, least and most.
        rows_apart: Rows that were judged apart, at most.
        rmse_times: Root mean squared error as a multiple of PyTorch's own; None where there is no number, or no bound.
        rmse_share: Of what it may be, in [0, infinity).
        max_times: The same of the greatest error.
        max_share: Of what it may be.
        flips: Decisions that differ; None where nothing is decided.
        verdict: Whether parity holds.
        reasons: Why not.
    """

    input_set: str
    batch_sizes: tuple[int, ...]
    rows: tuple[int, int]
    rows_apart: int
    rmse_times: float | None
    rmse_share: float | None
    max_times: float | None
    max_share: float | None
    flips: int | None
    verdict: Verdict
    reasons: tuple[str, ...]


def proof_rows(graph: GraphVerdict) -> tuple[ProofRow, ...]:
    """Sum up a graph's comparisons."""
    return tuple(_row(list(group)) for _, group in groupby(graph.comparisons, key=lambda one: one.input_set))


def _row(group: list[Comparison]) -> ProofRow:
    flips = [one.flips for one in group if one.flips is not None]
    counts = [one.rows for one in group]
    rmse = _worst([(one.rmse, one.rmse_bound) for one in group])
    greatest = _worst([(one.max_error, one.max_bound) for one in group])
    verdict: Verdict = "pass"
    for worse in _WORSE:
        verdict = worse if any(one.verdict == worse for one in group) else verdict
    return ProofRow(
        input_set=group[0].input_set,
        batch_sizes=tuple(sorted({one.batch_size for one in group})),
        rows=(min(counts), max(counts)),
        rows_apart=max(one.rows_apart for one in group),
        rmse_times=None if rmse is None else rmse * RMSE_FACTOR,
        rmse_share=rmse,
        max_times=None if greatest is None else greatest * MAX_FACTOR,
        max_share=greatest,
        flips=sum(flips) if flips else None,
        verdict=verdict,
        reasons=tuple(dict.fromkeys(f"{one.output}: {one.reason}" for one in group if one.reason)),
    )


def _worst(pairs: list[tuple[float | None, float | None]]) -> float | None:
    known = [(error, bound) for error, bound in pairs if error is not None and bound is not None]
    if len(known) < len(pairs):
        return None
    return max(0.0 if error == 0 else error / bound if bound else math.inf for error, bound in known)
