"""The reference as a list of operations, each of which can be run alone, in float32 or in float64."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Look = Callable[[str], Any]
_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """One operation of PyTorch's.

    Attributes:
        name: Of its result.
        kind: An operation; a weight or constant; or an input.
        operator: What it does, such as ``aten.linear.default``.
        path: Of the module that calls it, such as ``network.head``.
        source: Where its source stands, ``file:line``, or empty.
        inputs: Names of the results that it reads, in order.
        item: Where it takes one of several results, which; else None.
        compute: Runs it: is given where results are looked up, and whether in float64. Of an input, it is never called.
    """

    name: str
    kind: Literal["operation", "constant", "input"]
    operator: str
    path: str
    source: str
    inputs: tuple[str, ...]
    compute: Callable[[Look, bool], Any]
    item: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """A module as operations in the order in which they run.

    Attributes:
        lines: All of them.
        inputs: Names of the lines that are the module's inputs, in order.
        outputs: Names of the lines whose results are its outputs, in order.
    """

    lines: tuple[Line, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def last_uses(self) -> dict[int, list[str]]:
        """Return which results nobody reads any more after each line, by its place."""
        last = {line.name: index for index, line in enumerate(self.lines)}
        for index, line in enumerate(self.lines):
            last.update(dict.fromkeys(line.inputs, index))
        for name in self.outputs:
            last[name] = len(self.lines)
        uses: dict[int, list[str]] = {}
        for name, index in last.items():
            uses.setdefault(index, []).append(name)
        return uses


def run_program(
    program: Program, feeds: Mapping[str, Tensor], *, wide: bool, change: Callable[[str, Any], Any] = lambda _, v: v
) -> list[Tensor]:
    """Run a program, and free each result after its last use.

    Args:
        program: What to run.
        feeds: One tensor per input.
        wide: Run in float64.
        change: Called with the name and result of each line; what it returns stands for the result from there on.
    """
    found: dict[str, Any] = {}
    uses = program.last_uses()
    with torch.inference_mode():
        for index, line in enumerate(program.lines):
            if line.kind == "input":
                result = widen(feeds[line.name]) if wide else feeds[line.name]
            else:
                result = line.compute(found.__getitem__, wide)
            found[line.name] = change(line.name, result)
            for name in uses.get(index, ()):
                del found[name]
    return [found[name] for name in program.outputs]


def widen(value: Any) -> Any:  # noqa: ANN401 - whatever operations take and give
    """Return what stands for a value in float64."""
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    if value is torch.float32:
        return torch.float64
    if isinstance(value, (list, tuple)):
        return type(value)(widen(item) for item in value) if type(value) in {list, tuple} else value
    if type(value) is dict:
        return {key: widen(item) for key, item in value.items()}
    return value


def reshaping(target: Any) -> Any:  # noqa: ANN401 - operators have no common type
    """Return what does the same as an operator where a tensor lies otherwise in memory, as one from elsewhere may."""
    return torch.ops.aten.reshape.default if target in _VIEWS else target
