"""The certificate as rows of a table: the worst of each input set, beside what it may be."""

from dataclasses import dataclass

from evaluate.certificate import WORST_FIRST, Certificate
from evaluate.graph_verdict import Comparison, GraphVerdict, OutputError, Search, Verdict
from evaluate.ratios import max_multiple, rmse_multiple, worst_search, worst_slack
from evaluate.tables import way
from serve.parity import MAX_FACTOR, RMSE_FACTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """One input set of one graph: the worst over its ways, outputs and batch sizes.

    Attributes:
        input_set: Its name.
        batch_sizes: Rows of one run.
        rows: Rows compared at each batch size, least and most.
        rows_apart: Rows that were judged apart, at most.
        rmse_times: Root mean squared error as a multiple of PyTorch's own; None where there is no number, or no bound.
        rmse_share: Of what it may be, in [0, infinity).
        max_times: The same of the greatest error.
        max_share: Of what it may be.
        slack: How many times as wide as the rule's the bounds are, because the graph is right in float64.
        flips: Decisions that differ at most; None where nothing is decided.
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
    slack: float
    flips: int | None
    verdict: Verdict
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One graph on one provider, in all ways it was run in.

    Attributes:
        graph: File name.
        precision: What it computes in.
        provider: What ran it.
        ways: Threads, and whether it was rewritten first.
        verdict: The worst.
        reasons: What the verdicts rest on, where they say so.
        notes: What one should know of how it ran.
        reduced: Errors of a graph of reduced precision.
        rows: One for each input set.
        sought: What seeking worse inputs gained in the worst of the ways, a sentence; or None.
    """

    graph: str
    precision: str
    provider: str
    ways: tuple[str, ...]
    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    reduced: tuple[OutputError, ...]
    rows: tuple[ProofRow, ...]
    sought: str | None
    weights: str | None


def proofs_of(certificate: Certificate) -> tuple[Proof, ...]:
    """Sum up the graphs, each in the worst of its ways."""
    groups: dict[tuple[str, str], list[GraphVerdict]] = {}
    for verdict in certificate.graphs:
        groups.setdefault((verdict.graph, verdict.provider), []).append(verdict)
    return tuple(_proof(group, certificate) for group in groups.values())


def _proof(group: list[GraphVerdict], certificate: Certificate) -> Proof:
    sets: dict[str, list[Comparison]] = {}
    for verdict in group:
        for one in verdict.comparisons:
            sets.setdefault(one.input_set, []).append(one)
    first, search = group[0], worst_search(group)
    return Proof(
        graph=first.graph,
        precision=first.precision,
        provider=first.provider,
        ways=tuple(dict.fromkeys(way(verdict, certificate.setting) for verdict in group)),
        verdict=_worst_of([verdict.verdict for verdict in group]),
        reasons=tuple(dict.fromkeys(verdict.reason for verdict in group if verdict.reason)),
        notes=tuple(dict.fromkeys(verdict.note for verdict in group if verdict.note)),
        reduced=next((verdict.reduced.outputs for verdict in group if verdict.reduced), ()),
        rows=tuple(_row(comparisons) for comparisons in sets.values()),
        sought=None if search is None else _sought(search),
        weights=next((held.sentence for held in certificate.weights if held.graph == first.graph), None),
    )


def _sought(search: Search) -> str:
    after = "no number" if search.graph_after is None else f"{search.graph_after:.2f}"
    return (
        f"Worse inputs were sought, {search.rows:,} rows: the greatest error of the graph was "
        f"{search.graph_before:.2f} before and {after} after, that of PyTorch itself {search.eager_before:.2f} and "
        f"{search.eager_after:.2f}, in multiples of PyTorch\N{RIGHT SINGLE QUOTATION MARK}s greatest on the samples."
    )


def _worst_of(verdicts: list[Verdict]) -> Verdict:
    return min(verdicts, key=WORST_FIRST.index, default="pass")


def _row(group: list[Comparison]) -> ProofRow:
    flips = [one.flips for one in group if one.flips is not None]
    counts = [one.rows for one in group]
    slack = worst_slack(group)
    rmse, greatest = rmse_multiple(group), max_multiple(group)
    return ProofRow(
        input_set=group[0].input_set,
        batch_sizes=tuple(sorted({one.batch_size for one in group})),
        rows=(min(counts), max(counts)),
        rows_apart=max(one.rows_apart for one in group),
        rmse_times=rmse,
        rmse_share=None if rmse is None else rmse / RMSE_FACTOR / slack,
        max_times=greatest,
        max_share=None if greatest is None else greatest / MAX_FACTOR / slack,
        slack=slack,
        flips=max(flips) if flips else None,
        verdict=_worst_of([one.verdict for one in group]),
        reasons=tuple(dict.fromkeys(f"{one.output}: {one.reason}" for one in group if one.reason)),
    )
