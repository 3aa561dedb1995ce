"""The operations of a TorchScript trace in one list, those of submodules where they are called."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evaluate.blame.lines import Line, Look, Program, reshaping, widen
from export.source_lines import shorten_frames
from serve.bundle import BundleError

_SOURCE = re.compile(r"^(.+\.py)\((\d+)\): ", re.MULTILINE)
_FLOAT32, _FLOAT64 = 6, 7  # how schemas number the dtypes
_PLAIN: Mapping[str, Callable[..., Any]] = {
    "aten::Int": int,
    "aten::Float": float,
    "aten::Bool": bool,
    "aten::ScalarImplicit": lambda value: value.item(),
    "prim::NumToTensor": torch.tensor,
    "aten::__getitem__": operator.getitem,
    "prim::ListConstruct": lambda *items: list(items),
    "prim::TupleConstruct": lambda *items: items,
}


class TraceError(BundleError):
    """A TorchScript graph that is no plain trace."""


def lines_of_trace(graph: torch.jit.ScriptModule, inputs: Sequence[str]) -> Program:
    """Return the operations of a traced module, those of its submodules where they are called.

    Args:
        graph: The module.
        inputs: What its inputs are to be called.

    Raises:
        TraceError: it has branches or loops, or calls what cannot be called from here.
    """
    walk = _Walk()
    names = list(inputs)
    for name in names:
        walk.lines.append(Line(name=name, kind="input", operator="", path="", source="", inputs=(), compute=_never))
    outputs = walk.run(graph, graph.graph, names, "")
    return Program(lines=tuple(walk.lines), inputs=tuple(names), outputs=tuple(walk.tuples.get(outputs, (outputs,))))


@dataclass(slots=True)
class _Walk:
    """Goes through a module's graph, and at each call through that of the submodule."""

    lines: list[Line] = field(default_factory=list)
    tuples: dict[str, list[str]] = field(default_factory=dict)
    guards: list[tuple[str, bool]] = field(default_factory=list)
    count: int = 0

    def run(self, module: Any, graph: Any, arguments: Sequence[str], path: str) -> str:  # noqa: ANN401
        """Add the operations of one call, and return the name of its result."""
        own, *rest = graph.inputs()
        names: dict[str, str] = dict(zip((value.debugName() for value in rest), arguments, strict=True))
        owners: dict[str, tuple[Any, str]] = {own.debugName(): (module, path)}
        for node in graph.nodes():
            self._node(node, names, owners, path)
        (result,) = graph.outputs()
        return names[result.debugName()]

    def _node(self, node: Any, names: dict[str, str], owners: dict[str, tuple[Any, str]], path: str) -> None:  # noqa: ANN401
        kind = node.kind()
        if kind == "prim::If":
            self._branches(node, names, owners, path)
        elif list(node.blocks()):
            raise TraceError(
                f"{path or 'the module'} has a loop ({kind}), but blame reads traces only; give --graph graph.onnx"
            )
        elif kind == "prim::GetAttr":
            owner, at = owners[node.input().debugName()]
            value, result = getattr(owner, node.s("name")), node.output().debugName()
            if isinstance(value, torch.nn.Module):
                owners[result] = (value, f"{at}.{node.s('name')}".lstrip("."))
            else:
                names[result] = self._constant(value, path)
        elif kind == "prim::CallMethod":
            receiver, *arguments = (value.debugName() for value in node.inputs())
            called, at = owners[receiver]
            method = node.s("name")
            graph = called.graph if method == "forward" else getattr(called, method).graph
            names[node.output().debugName()] = self.run(called, graph, [names[name] for name in arguments], at)
        elif kind == "prim::Constant":
            names[node.output().debugName()] = self._constant(node.output().toIValue(), path)
        else:
            self._operation(node, names, path)

    def _operation(self, node: Any, names: dict[str, str], path: str) -> None:  # noqa: ANN401
        kind = node.kind()
        inputs = tuple(names[value.debugName()] for value in node.inputs())
        outputs = [value.debugName() for value in node.outputs()]
        if kind in {"prim::ListUnpack", "prim::TupleUnpack"}:
            for place, name in enumerate(outputs):
                names[name] = self._add(kind, inputs, path, "", operator.itemgetter(place), item=place)
            return
        function = _PLAIN.get(kind) or _function(node)
        name = self._add(kind.removeprefix("aten::"), inputs, path, _source(node), function, dtypes=_dtype_places(node))
        if kind == "prim::TupleConstruct":
            self.tuples[name] = list(inputs)
        if len(outputs) == 1:
            names[outputs[0]] = name
            return
        for place, output in enumerate(outputs):
            names[output] = self._add("item", (name,), path, "", operator.itemgetter(place), item=place)

    def _branches(self, node: Any, names: dict[str, str], owners: dict[str, tuple[Any, str]], path: str) -> None:  # noqa: ANN401
        """Add both branches, of which one runs: torch writes such where it reads an operator of an earlier version."""
        condition = names[node.input().debugName()]
        results = []
        for block, wanted in zip(node.blocks(), (True, False), strict=True):
            self.guards.append((condition, wanted))
            for inner in block.nodes():
                self._node(inner, names, owners, path)
            self.guards.pop()
            results.append([names[value.debugName()] for value in block.outputs()])
        for output, first, second in zip(node.outputs(), *results, strict=True):
            names[output.debugName()] = self._add(
                "If", (condition, first, second), path, "", lambda chosen, yes, no: yes if chosen else no
            )

    def _constant(self, value: Any, path: str) -> str:  # noqa: ANN401
        self.count += 1
        name = f"constant_{self.count}"
        held = value.detach() if isinstance(value, Tensor) else value
        self.lines.append(
            Line(
                name=name,
                kind="constant",
                operator="",
                path=path,
                source="",
                inputs=(),
                compute=lambda _look, _wide: held,
            )
        )
        return name

    def _add(
        self,
        kind: str,
        inputs: tuple[str, ...],
        path: str,
        source: str,
        function: Callable[..., Any],
        *,
        dtypes: frozenset[int] = frozenset(),
        item: int | None = None,
    ) -> str:
        self.count += 1
        in_place = kind.endswith("_") and not kind.startswith("prim::")

        guards = tuple(self.guards)

        def compute(look: Look, wide: bool) -> Any:  # noqa: ANN401
            if any(look(condition) != wanted for condition, wanted in guards):
                return None
            values = [look(name) for name in inputs]
            if wide:
                values = [
                    _FLOAT64 if place in dtypes and value == _FLOAT32 else widen(value)
                    for place, value in enumerate(values)
                ]
            if in_place and isinstance(values[0], Tensor):
                values[0] = values[0].clone()  # others may still compare what was there before
            result = function(*values)
            return widen(result) if wide else result

        name = f"{kind.rpartition('::')[2]}_{self.count}"
        self.lines.append(
            Line(
                name=name,
                kind="operation",
                operator=kind,
                path=path,
                source=source,
                inputs=(*inputs, *(condition for condition, _ in guards)),
                compute=compute,
                item=item,
            )
        )
        return name


def _function(node: Any) -> Callable[..., Any]:  # noqa: ANN401 - torch's graphs have no types
    kind = node.kind()
    schema = None if node.schema() == "(no schema)" else torch._C.parse_schema(node.schema())
    namespace, _, name = kind.partition("::")
    packet = getattr(getattr(torch.ops, namespace, None), name, None) if schema is not None else None
    if schema is None or packet is None or "..." in str(schema):
        raise TraceError(
            f"{kind} cannot be run alone, but blame runs every operation of a trace; give --graph graph.onnx"
        )
    chosen = reshaping(getattr(packet, schema.overload_name or "default"))
    only_named = [argument.name for argument in schema.arguments if argument.kwarg_only]
    count = len(schema.arguments) - len(only_named)

    def call(*values: Any) -> Any:  # noqa: ANN401
        return chosen(*values[:count], **dict(zip(only_named, values[count:], strict=True)))

    return call


def _dtype_places(node: Any) -> frozenset[int]:  # noqa: ANN401
    if node.schema() == "(no schema)":
        return frozenset()
    arguments = torch._C.parse_schema(node.schema()).arguments
    return frozenset(place for place, argument in enumerate(arguments) if argument.name == "dtype")


def _source(node: Any) -> str:  # noqa: ANN401
    found = _SOURCE.findall(node.sourceRange())
    own = [frame for frame in found if "/torch/" not in frame[0]]
    if not found:
        return ""
    path, line = (own or found)[0]
    shortened = shorten_frames(f'File "{path}"').removeprefix('File "').removesuffix('"')
    return f"{shortened}:{line}"


def _never(_look: Look, _wide: bool) -> Any:  # noqa: ANN401
    raise AssertionError("inputs are fed")
