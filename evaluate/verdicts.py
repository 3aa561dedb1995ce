"""The verdict on one graph: every output on every input set, by the rule of its precision."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.compare_outputs import compare_graph
from evaluate.graph_verdict import Comparison, Decisions, GraphVerdict, Reduced, Search, Verdict
from evaluate.independence import Outcome, neighbours_change
from evaluate.inputs import InputSet
from evaluate.reduced import compare_decisions, judge_outputs, judge_reduced
from evaluate.rounding import rounding_note
from evaluate.runners import RUN_ERRORS, Candidate
from evaluate.source import HeldOut
from evaluate.truth import Truth
from evaluate.worst import SOUGHT, Seeker, SoughtError
from export.module_runner import run_batches
from serve.bundle import Task
from serve.runner import Runner


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RealSamples:
    """Real samples with eager's float32 logits, for the decisions of graphs of reduced precision."""

    held_out: HeldOut
    logits: NDArray[np.float32]
    max_drop: float


def judge_graph(
    candidate: Candidate,
    truths: list[Truth],
    *,
    task: Task,
    samples: RealSamples | None = None,
    seeker: Seeker | None = None,
) -> GraphVerdict:
    """Judge one graph on all input sets.

    Args:
        candidate: The graph on one provider.
        truths: Input sets; the first is the one of real samples, which must prove something.
        task: What the outputs mean; the logits of a classification decide.
        samples: Where its precision is reduced, what its decisions are compared on; None where nothing is decided.
        seeker: Seeks worse inputs for a graph of full precision that is right on all of these; None where none are.
    """
    comparisons: list[Comparison] = []
    outcomes: list[Outcome] = []
    fault = candidate.fault
    exact = candidate.precision == "float32"
    kept = candidate.state() if candidate.state is not None else None
    decisive = "logits" if "classification" in task else None
    if candidate.runner is not None:
        for index, truth in enumerate(truths):
            outputs = _run(candidate.runner, truth.inputs)
            if isinstance(outputs, str):
                fault = outputs
                break
            outcomes.append(Outcome(truth=truth, outputs=outputs))
            wrong = any(comparison.verdict == "fail" for comparison in comparisons)
            judged = replace(candidate, references=None) if wrong else candidate  # they are slow, and decide no more
            comparisons += compare_graph(judged, outputs, truth, must_vary=index == 0, decisive=decisive)
    if fault is None and candidate.state is not None and candidate.state() != kept:
        fault = "what it keeps changes as it runs, so it will not always give the same answer; export it again"
    search: Search | None = None
    if seeker is not None and exact and fault is None and all(c.verdict == "pass" for c in comparisons):
        found, search, fault = _compare_sought(candidate, seeker, outcomes, decisive=decisive)
        comparisons += found
    broken = next((c for c in comparisons if c.verdict == "fail"), None)
    broken = broken or next((c for c in comparisons if c.verdict != "pass"), None)
    verdict: Verdict = "fail" if fault else broken.verdict if broken else "pass"
    if fault is None and broken is not None:
        fault = f"{broken.output} on {broken.input_set}: {broken.reason}"
    reduced: Reduced | None = None
    if not exact and fault is None and candidate.runner is not None:
        verdict, fault, reduced = _judge_reduced(candidate, candidate.runner, outcomes, task=task, samples=samples)
    return GraphVerdict(
        graph=candidate.graph,
        precision=candidate.precision,
        provider=candidate.provider,
        optimized=candidate.optimized,
        threads=candidate.threads,
        verdict=verdict,
        reason=fault,
        comparisons=tuple(comparisons),
        reduced=reduced,
        note=candidate.note or (rounding_note(comparisons) if verdict != "fail" else None),
        search=search,
    )


def _compare_sought(
    candidate: Candidate, seeker: Seeker, outcomes: list[Outcome], *, decisive: str | None
) -> tuple[list[Comparison], Search | None, str | None]:
    """Seek the worst inputs for a graph, and judge it on them; also returned is how it fails, if it does."""
    if candidate.runner is None:
        return [], None, None
    try:
        truth, search = seeker.seek(candidate.runner, {o.truth.inputs.name: o.outputs for o in outcomes})
    except SoughtError as error:
        return [], None, f"it fails on {SOUGHT} ({_last_line(error)})"
    outputs = _run(candidate.runner, truth.inputs)
    if isinstance(outputs, str):
        return [], search, outputs
    return compare_graph(candidate, outputs, truth, must_vary=False, decisive=decisive), search, None


def _run(runner: Runner, inputs: InputSet) -> dict[str, NDArray[Any]] | str:
    """Run one input set, or return the sentence that says how it fails."""
    try:
        return run_batches(runner, inputs.inputs, batch_size=inputs.batch_size, sizes=inputs.sizes)
    except RUN_ERRORS as error:
        return f"it fails on {inputs.name} at batch size {inputs.batch_size} ({_last_line(error)})"


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else repr(error)


def _judge_reduced(
    candidate: Candidate, runner: Runner, outcomes: list[Outcome], *, task: Task, samples: RealSamples | None
) -> tuple[Verdict, str, Reduced | None]:
    changed = neighbours_change(outcomes)
    if changed is not None:
        return "fail", changed, None
    first = outcomes[0]
    errors = judge_outputs(first.outputs, first.truth.reference, task=task, precision=candidate.precision)
    decisions: Decisions | None = None
    if "classification" in task:
        if samples is None or not samples.held_out.real:
            return "unproven", "there are no real samples to compare decisions on; export it with --samples", None
        logits = run_batches(runner, samples.held_out.inputs, batch_size=first.truth.inputs.batch_size)["logits"]
        targets = samples.held_out.targets
        decisions = compare_decisions(
            logits,
            eager=samples.logits,
            class_index=None if targets is None else targets.astype(np.int64),
            source=samples.held_out.source,
            max_drop=samples.max_drop,
        )
    return judge_reduced(errors, decisions)
