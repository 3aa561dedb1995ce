"""Which operator made the outputs wrong: of all that add an error of their own, the first whose own suffices."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluate.blame.align import Alignment
from evaluate.blame.follow import Point, changed_outputs, judge
from evaluate.blame.lines import Line, Program, widen
from evaluate.blame.pairs import Pair
from evaluate.blame.steps import Graph, Step
from evaluate.blame.twins import first_unlike

MOST_SUSPECTS = 12
"""Operators whose error is traced to the outputs: each costs one run in float64."""

Fault = Literal["wrong", "inserted", "missing", "wired"]
_HAPPENED: Mapping[Fault, str] = {
    "wrong": "gives other values than PyTorch's operation does on the same inputs",
    "inserted": "is in the graph, but not in the module",
    "missing": "is in the module, but not in the graph",
    "wired": "reads another value than in the module",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """The operator that is to blame.

    Attributes:
        fault: What is wrong with it.
        operator: Its type in the graph.
        node: Its name there.
        pytorch: The operation of PyTorch's that it stands for.
        path: Of the module that calls it.
        source: Where that stands, ``file:line``, or empty.
        value: Name of the first value that shows it.
        error_before: Greatest error among its inputs, as a multiple of eager's.
        error_after: Error of its result, as a multiple of eager's; None where that is no number (shape, dtype, NaN).
        share: How far its own error alone moves the outputs, as a multiple of what they are allowed; None as before.
        detail: What else was found.
    """

    fault: Fault
    operator: str
    node: str
    pytorch: str
    path: str
    source: str
    value: str
    error_before: float
    error_after: float | None
    share: float | None
    detail: str

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        return f"{self.operator} ({self.node}) {_HAPPENED[self.fault]}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """All that is known of a graph whose outputs are wrong.

    Attributes:
        pair: The graph under test and its reference.
        feeds: One tensor per input of the program.
        points: Every comparison, in order.
        bounds: For each output, the greatest rmse and absolute error that it may have; None where nothing is allowed.
        outputs: Of the program in float64.
    """

    pair: Pair
    feeds: Mapping[str, Tensor]
    points: Sequence[Point]
    bounds: Sequence[tuple[float, float]]
    outputs: Sequence[Tensor]

    @property
    def program(self) -> Program:
        """The reference."""
        return self.pair.reference.program

    @property
    def graph(self) -> Graph:
        """The graph under test."""
        return self.pair.graph

    @property
    def alignment(self) -> Alignment:
        """Which value is which."""
        return self.pair.alignment


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
    local = _Local(case)
    before = _error_before(case, point.line)
    after = None if point.whole.fault is not None else point.times_eager
    detail = point.own.fault or ""

    def culprit(fault: Fault, step: Step, line: Line, more: str = "") -> Culprit:
        return Culprit(
            fault=fault,
            operator=step.operator,
            node=step.name,
            pytorch=_whole(case, line).operator if fault != "inserted" else "",
            path=(step.path or line.path) if fault == "inserted" else line.path,
            source=(step.source or line.source) if fault == "inserted" else line.source,
            value=point.value,
            error_before=before,
            error_after=after,
            share=share if math.isfinite(share) else None,
            detail="; ".join(part for part in (detail, more) if part),
        )

    actual = _actual_inputs(case, point.line, own, local)
    if actual and _right_on(point, actual, local):
        between = [place for name in actual.values() for place in _unpaired_before(case, name)]
        if between:
            return culprit("inserted", steps[min(between)], point.line)
        for line in _lines_before(case, point.line):
            twin = case.pair.reference.twins[line.name][-1]
            return culprit("missing", twin, line, f"{last.operator} ({last.name}) follows without it")
        names = ", ".join(actual.values())
        wanted = ", ".join(alignment.value_of.get(name, name) for name in actual)
        return culprit("wired", last, point.line, f"it reads {names} instead of {wanted}")
    pair = case.pair
    twins = pair.reference.twins.get(_whole(case, point.line).name, ())
    unlike = first_unlike(own, twins, graph=pair.weights, expected=pair.reference.weights)
    if unlike is None:
        chosen = _main(own)
        return culprit("wrong", chosen, point.line, _weights_of(case, chosen))
    between = [place for name in unlike.step.inputs for place in _unpaired_before(case, name)]
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


def _actual_inputs(case: Case, line: Line, own: Sequence[Step], local: "_Local") -> dict[str, str]:
    """Return what the steps of an operation read that the operation does not: by the line it should be, the value."""
    alignment = case.alignment
    made = {value for step in own for value in step.outputs}
    reads = list(dict.fromkeys(value for step in own for value in step.inputs if value not in made))
    wanted = [name for name in _reads(case, line) if isinstance(local.get(name, False), Tensor)]
    values = {alignment.value_of.get(name) for name in wanted}
    others = [value for value in reads if value not in values]
    open_ = [name for name in wanted if alignment.value_of.get(name) not in reads]
    found: dict[str, str] = {}
    for value in others:
        shape = local.value(value).shape
        fits = [name for name in open_ if name not in found and tuple(local.get(name, False).shape) == shape]
        if fits:
            found[fits[0]] = value
    return found


def _whole(case: Case, line: Line) -> Line:
    """Return the operation that a line is one of several results of, or the line itself."""
    if line.item is None:
        return line
    return next(other for other in case.program.lines if other.name == line.inputs[0])


def _reads(case: Case, line: Line) -> list[str]:
    """Return the lines that an operation reads, past those that a right graph has no steps for."""
    known = {other.name: other for other in case.program.lines}
    found: list[str] = []
    waiting, seen = list(_whole(case, line).inputs), set()
    while waiting:
        name = waiting.pop(0)
        if name in seen or known[name].kind == "constant":
            continue
        seen.add(name)
        if name in case.alignment.value_of or name in case.alignment.among:
            found.append(name)
        else:
            waiting += known[name].inputs
    return found


def _right_on(point: Point, actual: Mapping[str, str], local: "_Local") -> bool:
    """Return whether an operation's result is right on what its steps really read."""
    found = local.value(point.value)
    results = [local.on(point.line, actual, wide=wide) for wide in (True, False)]
    if not all(isinstance(result, Tensor) for result in results):
        return False
    return judge(found, eager=results[1].numpy(), reference=results[0].numpy()).passed


def _unpaired_before(case: Case, value: str) -> list[int]:
    """Return the places of the steps that make a value, as far back as none of them is an operation of PyTorch's."""
    steps = case.graph.steps
    maker = {name: index for index, step in enumerate(steps) for name in step.outputs}
    paired = {place for places in case.alignment.steps_of.values() for place in places}
    found: list[int] = []
    waiting = [value]
    while waiting:
        index = maker.get(waiting.pop())
        if index is None or index in paired or index in found:
            continue
        found.append(index)
        waiting += steps[index].inputs
    return found


def _lines_before(case: Case, line: Line) -> list[Line]:
    """Return the operations right before one that the graph should have steps for, and has not; the nearest last."""
    known = {other.name: other for other in case.program.lines}
    found: list[Line] = []
    waiting = list(line.inputs)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        other = known[name]
        if name in seen or other.kind != "operation" or name in case.alignment.value_of:
            continue
        seen.add(name)
        if name in case.alignment.among:
            found.append(other)
        waiting += other.inputs
    return found


def _error_before(case: Case, line: Line) -> float:
    known = {other.name: other for other in case.program.lines}
    points = {point.line.name: point for point in case.points}
    errors = [0.0]
    waiting, seen = list(line.inputs), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in points:
            errors.append(points[name].times_eager)
        else:
            waiting += known[name].inputs
    finite = [error for error in errors if math.isfinite(error)]
    return max(finite)


def _unpaired_output(case: Case) -> Culprit | None:
    """Return the step that makes an output of a value that is right, where PyTorch has no such step."""
    for name, value in zip(case.program.outputs, case.graph.outputs, strict=True):
        line = next(line for line in case.program.lines if line.name == name)
        if case.alignment.value_of.get(name) == value:
            continue
        between = _unpaired_before(case, value)
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
            error_before=point.times_eager if point is not None else _error_before(case, line),
            error_after=None,
            share=None,
            detail=f"output {value} is made of {', '.join(chosen.inputs)}" if not missing else "",
        )
    return None


class _Local:
    """Results of single operations on what the graph itself has before them."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._lines = {line.name: line for line in case.program.lines}
        self._held: dict[tuple[str, bool], Any] = {}
        self._values: dict[str, NDArray[Any]] = {}

    def value(self, name: str) -> NDArray[Any]:
        """Return a value of the graph."""
        if name not in self._values:
            self._values.update(self._case.graph.values([name]))
        return self._values[name]

    def get(self, name: str, wide: bool) -> Any:  # noqa: ANN401
        """Return what stands for a line: the graph's own value, or what the operation gives on those before it."""
        if (name, wide) not in self._held:
            value = self._case.alignment.value_of.get(name) if self._lines[name].kind == "operation" else None
            self._held[name, wide] = (
                self._run(self._lines[name], lambda other: self.get(other, wide), wide)
                if value is None
                else self._tensor(value, wide)
            )
        return self._held[name, wide]

    def on(self, line: Line, actual: Mapping[str, str], *, wide: bool) -> Any:  # noqa: ANN401
        """Return what an operation gives on other values of the graph, by the line that each stands for."""
        held: dict[str, Any] = {name: self._tensor(value, wide) for name, value in actual.items()}

        def look(name: str) -> Any:  # noqa: ANN401
            if name not in held:
                through = name not in self._case.alignment.value_of and self._lines[name].kind == "operation"
                held[name] = self._run(self._lines[name], look, wide) if through else self.get(name, wide)
            return held[name]

        return self._run(line, look, wide)

    def _tensor(self, value: str, wide: bool) -> Tensor:
        own = torch.from_numpy(np.ascontiguousarray(self.value(value)))
        single = own.float() if own.is_floating_point() else own
        return single.double() if wide and single.is_floating_point() else single

    def _run(self, line: Line, look: Callable[[str], Any], wide: bool) -> Any:  # noqa: ANN401
        if line.kind == "input":
            return widen(self._case.feeds[line.name]) if wide else self._case.feeds[line.name]
        try:
            with torch.inference_mode():
                return line.compute(look, wide)
        except (RuntimeError, TypeError):  # a value of the graph has another shape than the operation takes
            return None
