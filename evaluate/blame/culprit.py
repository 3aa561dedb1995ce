"""Which operator made the outputs wrong: of all that add an error of their own, the first whose own suffices."""

import math
from collections.abc import Callable, Sequence

import torch

from evaluate.blame.case import Case, error_before, lines_before, unpaired_before, whole
from evaluate.blame.follow import Point, changed_outputs
from evaluate.blame.found import Culprit, Fault
from evaluate.blame.lines import Line
from evaluate.blame.local import Local, actual_inputs, right_on
from evaluate.blame.steps import Step
from evaluate.blame.twins import first_unlike

MOST_SUSPECTS = 12
"""Operators whose error is traced to the outputs: each costs one run in float64."""


def find_culprit(case: Case, *, on_step: Callable[[str], None]) -> Culprit | None:
    """Return the first operator whose own error alone moves the outputs beyond the rule, or the one that does most."""
    suspects = [point for point in case.points if not point.own.passed]
    chosen = sorted(suspects, key=lambda point: -point.own.ratio)[:MOST_SUSPECTS]
    best: tuple[float, Point] | None = None
    for point in suspects:
        if point not in chosen:
            continue
        on_step(f"what the error of {point.line.name} does to the outputs")
        share = _share(case, point)
        if best is None or share > best[0]:
            best = share, point
        if share > 1:
            break
    if best is None or best[0] <= 1:
        added = _unpaired_output(case)
        if added is not None:
            return added
    return _name(case, best[1], best[0]) if best is not None else None


def _share(case: Case, point: Point) -> float:
    if point.delta is None or not bool(torch.isfinite(point.delta).all()):
        return math.inf
    worst = 0.0
    outputs = changed_outputs(case.program, case.feeds, point)
    for found, expected, (rmse, most) in zip(outputs, case.outputs, case.bounds, strict=True):
        moved = (found.double() - expected.double()).abs()
        if not bool(torch.isfinite(moved).all()):
            return math.inf
        for size, allowed in ((float(moved.square().mean().sqrt()), rmse), (float(moved.max()), most)):
            worst = max(worst, size / allowed if allowed else math.inf if size else 0.0)
    return worst


def _name(case: Case, point: Point, share: float) -> Culprit:
    """Say what is wrong where a value is: the operator itself, or one before it that PyTorch does not have."""
    steps, alignment = case.graph.steps, case.alignment
    own = [steps[place] for place in alignment.steps_of[point.line.name]]
    last = own[-1]
    local = Local(case)
    before = error_before(case, point.line)
    after = None if point.whole.fault is not None else point.times_eager
    detail = point.own.fault or ""

    def culprit(fault: Fault, step: Step, line: Line, more: str = "") -> Culprit:
        return Culprit(
            fault=fault,
            operator=step.operator,
            node=step.name,
            pytorch=whole(case, line).operator if fault != "inserted" else "",
            path=(step.path or line.path) if fault == "inserted" else line.path,
            source=(step.source or line.source) if fault == "inserted" else line.source,
            value=point.value,
            error_before=before,
            error_after=after,
            share=share if math.isfinite(share) else None,
            detail="; ".join(part for part in (detail, more) if part),
        )

    actual = actual_inputs(case, point.line, own, local)
    if actual and right_on(point, actual, local):
        between = [place for name in actual.values() for place in unpaired_before(case, name)]
        if between:
            return culprit("inserted", steps[min(between)], point.line)
        for line in lines_before(case, point.line):
            twin = case.pair.reference.twins[line.name][-1]
            return culprit("missing", twin, line, f"{last.operator} ({last.name}) follows without it")
        names = ", ".join(actual.values())
        wanted = ", ".join(alignment.value_of.get(name, name) for name in actual)
        return culprit("wired", last, point.line, f"it reads {names} instead of {wanted}")
    pair = case.pair
    twins = pair.reference.twins.get(whole(case, point.line).name, ())
    unlike = first_unlike(own, twins, graph=pair.weights, expected=pair.reference.weights)
    if unlike is None:
        chosen = _main(own)
        return culprit("wrong", chosen, point.line, _weights_of(case, chosen))
    between = [place for name in unlike.step.inputs for place in unpaired_before(case, name)]
    if between and unlike.rewired:
        return culprit("inserted", steps[min(between)], point.line)
    return culprit(
        "missing" if unlike.missing else "wrong",
        unlike.step,
        point.line,
        _weights_of(case, unlike.step) or unlike.sentence,
    )


def _weights_of(case: Case, step: Step) -> str:
    """Say which weights that a step reads differ, or nothing."""
    own = [
        difference.sentence
        for difference in case.pair.differences
        if step.name in difference.nodes
        or (not case.pair.weights and difference.tensor.rpartition(".")[0] == step.path)
    ]
    return "; ".join(own)


def _main(steps: Sequence[Step]) -> Step:
    """Return the step that best stands for an operation which became several: the one with weights, or the last."""
    return next((step for step in steps if step.weights and step.operator in {"MatMul", "Conv", "Gemm"}), steps[-1])


def _unpaired_output(case: Case) -> Culprit | None:
    """Return the step that makes an output of a value that is right, where PyTorch has no such step."""
    for name, value in zip(case.program.outputs, case.graph.outputs, strict=True):
        line = next(line for line in case.program.lines if line.name == name)
        if case.alignment.value_of.get(name) == value:
            continue
        between = unpaired_before(case, value)
        made = case.alignment.line_of.get(value)
        point = next((point for point in case.points if point.line.name == name), None)
        step = case.graph.steps[min(between)] if between else None
        maker = next((step for step in case.graph.steps if value in step.outputs), None)
        if step is None and made is None:
            continue
        chosen = step or maker
        if chosen is None:
            continue
        missing = step is None and name in case.alignment.among and name not in case.alignment.value_of
        if missing:
            chosen = case.pair.reference.twins[name][-1]
        return Culprit(
            fault="inserted" if step else "missing" if missing else "wired",
            operator=chosen.operator,
            node=chosen.name,
            pytorch="" if step else line.operator,
            path=chosen.path or line.path if step else line.path,
            source=chosen.source or line.source if step else line.source,
            value=value,
            error_before=point.times_eager if point is not None else error_before(case, line),
            error_after=None,
            share=None,
            detail=f"output {value} is made of {', '.join(chosen.inputs)}" if not missing else "",
        )
    return None
