"""One candidate before the judge, and the rules in common use on the very outputs that the judge saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.faults.rules import OURS, RULES
from evaluate.inputs import Arrays
from evaluate.ratios import worst_ratio
from evaluate.runners import Candidate
from evaluate.truth import Truth
from evaluate.verdicts import judge_graph
from serve.bundle import Task
from serve.runner import Runner


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What came out.

    Attributes:
        rejects: Whether each rule objects, by name, given all input sets.
        rejects_samples: The same, given the held-out samples alone.
        reason: Why ours does, or None.
        ratio: Greatest error over what ours allows, as far as both are numbers.
        outputs: By input set, None where the candidate failed.
    """

    rejects: dict[str, bool]
    rejects_samples: dict[str, bool]
    reason: str | None
    ratio: float | None
    outputs: list[Arrays | None]


class _Recording:
    """Keeps what a runner gives."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.batches: list[dict[str, NDArray[Any]]] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        outputs = {name: np.array(values) for name, values in self._runner.run(inputs).items()}
        self.batches.append(outputs)
        return outputs


def try_candidate(candidate: Candidate, truths: list[Truth], *, task: Task) -> Trial:
    """Judge a candidate by every rule, running it once.

    A candidate that cannot be loaded, fails, or gives another shape or dtype is objected to by every rule.
    """
    recording = _Recording(candidate.runner) if candidate.runner is not None else None
    verdict = judge_graph(_with(candidate, recording), truths, task=task)
    outputs = _by_set(recording.batches if recording else [], truths)
    found = [_objections(values, truth) for values, truth in zip(outputs, truths, strict=True)]
    first = {c.verdict for c in verdict.comparisons if c.input_set == truths[0].inputs.name}
    ours = verdict.verdict != "pass"
    return Trial(
        rejects={OURS: ours} | {rule.name: any(objects[rule.name] for objects in found) for rule in RULES},
        rejects_samples={OURS: first != {"pass"}} | found[0],
        reason=verdict.reason,
        ratio=worst_ratio(verdict.comparisons),
        outputs=outputs,
    )


def either(trials: list[Trial]) -> Trial:
    """Join the trials of one fault's candidates: a rule that objects to one of them has caught it."""
    first = trials[0]
    ratios = [trial.ratio for trial in trials]
    return Trial(
        rejects={name: any(trial.rejects[name] for trial in trials) for name in first.rejects},
        rejects_samples={name: any(trial.rejects_samples[name] for trial in trials) for name in first.rejects},
        reason=next((trial.reason for trial in trials if trial.reason), None),
        ratio=None if None in ratios else max(ratio for ratio in ratios if ratio is not None),
        outputs=first.outputs,
    )


def _with(candidate: Candidate, runner: Runner | None) -> Candidate:
    return Candidate(
        graph=candidate.graph,
        precision=candidate.precision,
        provider=candidate.provider,
        size_bytes=candidate.size_bytes,
        optimized=candidate.optimized,
        runner=runner,
        fault=candidate.fault,
        note=candidate.note,
    )


def _by_set(batches: list[dict[str, NDArray[Any]]], truths: list[Truth]) -> list[Arrays | None]:
    """Sort batches by the input set that they are of; of sets that were not run to the end there is nothing."""
    found: list[Arrays | None] = []
    start = 0
    for truth in truths:
        rows, size = len(truth.inputs.judged), truth.inputs.batch_size
        count = len(truth.inputs.sizes) or -(-rows // size)
        own = batches[start : start + count]
        start += count
        whole = len(own) == count
        found.append({name: np.concatenate([batch[name] for batch in own]) for name in own[0]} if whole else None)
    return found


def _objections(outputs: Arrays | None, truth: Truth) -> dict[str, bool]:
    judged = truth.inputs.judged
    if outputs is None or any(values.shape != truth.eager[name].shape for name, values in outputs.items()):
        return {rule.name: True for rule in RULES}
    return {
        rule.name: not all(
            outputs[name].dtype == eager.dtype
            and rule.accepts(outputs[name][judged], eager[judged], truth.reference[name][judged])
            for name, eager in truth.eager.items()
        )
        for rule in RULES
    }
