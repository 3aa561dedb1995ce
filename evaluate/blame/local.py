"""Single operations on what the graph itself has before them: whether they would be right on what they really read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluate.blame.case import Case, reads
from evaluate.blame.follow import Point, judge
from evaluate.blame.lines import Line, widen
from evaluate.blame.steps import Step


class Local:
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


def actual_inputs(case: Case, line: Line, own: Sequence[Step], local: Local) -> dict[str, str]:
    """Return what the steps of an operation read that the operation does not: by the line it should be, the value."""
    alignment = case.alignment
    made = {value for step in own for value in step.outputs}
    given = list(dict.fromkeys(value for step in own for value in step.inputs if value not in made))
    wanted = [name for name in reads(case, line) if isinstance(local.get(name, False), Tensor)]
    values = {alignment.value_of.get(name) for name in wanted}
    others = [value for value in given if value not in values]
    open_ = [name for name in wanted if alignment.value_of.get(name) not in given]
    found: dict[str, str] = {}
    for value in others:
        shape = local.value(value).shape
        fits = [name for name in open_ if name not in found and tuple(local.get(name, False).shape) == shape]
        if fits:
            found[fits[0]] = value
    return found


def right_on(point: Point, actual: Mapping[str, str], local: Local) -> bool:
    """Return whether an operation's result is right on what its steps really read."""
    found = local.value(point.value)
    results = [local.on(point.line, actual, wide=wide) for wide in (True, False)]
    if not all(isinstance(result, Tensor) for result in results):
        return False
    return judge(found, eager=results[1].numpy(), reference=results[0].numpy()).passed
