"""TorchScript traces as graphs under test."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluate.blame.lines import Line, run_program
from evaluate.blame.steps import Step
from evaluate.blame.trace_walk import TraceError, lines_of_trace
from export.first_line import first_line


def trace_module(module: torch.nn.Module, examples: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    """Trace a module as its export did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced: torch.jit.ScriptModule = torch.jit.trace(module, examples, check_trace=False)  # type: ignore[no-untyped-call]
    return traced


class TraceGraph:
    """A TorchScript graph on fixed inputs."""

    def __init__(self, graph: torch.jit.ScriptModule, feeds: Mapping[str, NDArray[Any]], *, name: str) -> None:
        self._feeds = {key: torch.from_numpy(np.ascontiguousarray(values)) for key, values in feeds.items()}
        self.name = name
        self.program = lines_of_trace(graph, tuple(feeds))
        self.outputs = self.program.outputs
        self._steps: tuple[Step, ...] | None = None
        self._constants = {line.name: line for line in self.program.lines if line.kind == "constant"}

    @property
    def steps(self) -> tuple[Step, ...]:
        """Operations that give tensors."""
        if self._steps is None:
            self._steps = self._find_steps()
        return self._steps

    def values(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Run the graph and return some of its values."""
        found: dict[str, NDArray[Any]] = {}

        def keep(name: str, result: Any) -> Any:  # noqa: ANN401
            if name in wanted:
                found[name] = result.numpy()
            return result

        wanted = set(names)
        self._run(keep)
        return found

    def _run(self, keep: Callable[[str, Any], Any]) -> None:
        try:
            run_program(self.program, self._feeds, wide=False, change=keep)
        except RuntimeError as error:
            raise TraceError(
                f"{self.name} fails on the golden inputs ({first_line(error)}); export it again"
            ) from error

    def _find_steps(self) -> tuple[Step, ...]:
        moving: dict[str, tuple[str, ...]] = {name: (name,) for name in self.program.inputs}
        tensors, lists = self._find_tensors()
        steps = []
        for line in self.program.lines:
            if line.kind != "operation":
                continue
            inputs = tuple(dict.fromkeys(value for name in line.inputs for value in moving.get(name, ())))
            if not inputs:
                continue
            if line.name in lists or line.operator == "If":  # whoever reads it reads what is in it
                moving[line.name] = inputs
            elif line.name in tensors:
                moving[line.name] = (line.name,)
                steps.append(_step(line, inputs, self._settings(line)))
        return tuple(steps)

    def _find_tensors(self) -> tuple[set[str], set[str]]:
        """Return the names of the lines that give a tensor, and no number, and of those that give several tensors."""
        tensors, lists = set(), set()

        def look(name: str, result: Any) -> Any:  # noqa: ANN401
            if isinstance(result, Tensor) and result.ndim:
                tensors.add(name)
            elif isinstance(result, (list, tuple)) and any(isinstance(item, Tensor) for item in result):
                lists.add(name)
            return result

        self._run(look)
        return tensors, lists

    def _settings(self, line: Line) -> tuple[tuple[str, str], ...]:
        """Return the arguments of an operation that are constants, and no weights."""
        found = []
        for place, name in enumerate(line.inputs):
            constant = self._constants.get(name)
            if constant is None:
                continue
            value = constant.compute(_nothing, False)
            if value is not None and not isinstance(value, Tensor):
                found.append((f"argument {place}", repr(value)))
        return tuple(found)


def _step(line: Line, inputs: tuple[str, ...], settings: tuple[tuple[str, str], ...]) -> Step:
    return Step(
        name=line.name,
        operator=line.operator,
        path=line.path,
        source="",
        key=(line.path, line.operator),
        group=line.name,
        inputs=inputs,
        outputs=(line.name,),
        settings=settings,
    )


def _nothing(_name: str) -> Any:  # noqa: ANN401
    raise AssertionError("constants read nothing")
