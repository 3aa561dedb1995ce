"""All that is known of a graph whose outputs are wrong, and what stands before an operation: there, and in PyTorch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from evaluate.blame.align import Alignment
from evaluate.blame.follow import Point
from evaluate.blame.lines import Line, Program
from evaluate.blame.pairs import Pair
from evaluate.blame.steps import Graph


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


def whole(case: Case, line: Line) -> Line:
    """Return the operation that a line is one of several results of, or the line itself."""
    if line.item is None:
        return line
    return next(other for other in case.program.lines if other.name == line.inputs[0])


def reads(case: Case, line: Line) -> list[str]:
    """Return the lines that an operation reads, past those that a right graph has no steps for."""
    known = {other.name: other for other in case.program.lines}
    found: list[str] = []
    waiting, seen = list(whole(case, line).inputs), set()
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


def unpaired_before(case: Case, value: str) -> list[int]:
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


def lines_before(case: Case, line: Line) -> list[Line]:
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


def error_before(case: Case, line: Line) -> float:
    """Return the greatest finite error among the values that an operation reads, as a multiple of eager's."""
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
