"""Operations of a captured program: what torch.onnx translated, one by one, into the nodes of a graph."""

import operator
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from evaluate.blame.lines import Line, Look, Program, reshaping, widen
from export.source_lines import shorten_frames

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_OF_TORCH = re.compile(r"(^|/)torch/(nn|_|utils)")


def lines_of_program(program: ExportedProgram) -> Program:
    """Return the operations of a program as it was decomposed for ONNX."""
    constants: dict[str, Any] = {}
    inputs = []
    state: Mapping[str, Any] = {**program.constants, **program.state_dict}
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            inputs.append(spec.arg.name)
        elif spec.target is not None:
            constants[spec.arg.name] = state[spec.target]
    outputs = [spec.arg.name for spec in program.graph_signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    lines = [
        _line(node, program.graph_module, constants) for node in program.graph_module.graph.nodes if node.op != "output"
    ]
    return Program(lines=tuple(lines), inputs=tuple(inputs), outputs=tuple(outputs))


def source_of(trace: str) -> str:
    """Return the innermost ``file:line`` of a stack trace that is not torch's own, or its last one."""
    frames = _FRAME.findall(shorten_frames(trace))
    own = [frame for frame in frames if not _OF_TORCH.search(frame[0])]
    chosen = (own or frames)[-1:]
    return ":".join(chosen[0]) if chosen else ""


def _line(node: fx.Node, owner: torch.nn.Module, constants: Mapping[str, Any]) -> Line:
    kind: Any = "operation"
    target: Any = reshaping(node.target)

    def compute(look: Look, wide: bool) -> Any:  # noqa: ANN401
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda other: look(other.name))
        if wide:
            return widen(target(*widen(args), **widen(kwargs)))
        return target(*args, **kwargs)

    if node.op == "placeholder":
        kind = "constant" if node.name in constants else "input"
    elif node.op == "get_attr":
        kind = "constant"
    if kind == "constant":
        value = constants[node.name] if node.op == "placeholder" else operator.attrgetter(str(node.target))(owner)

        def compute(look: Look, wide: bool) -> Any:  # noqa: ANN401, ARG001
            return value  # widened where it is used, so that no two copies of all weights are held

    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return Line(
        name=node.name,
        kind=kind,
        operator=str(node.target),
        path=path.replace("L['self'].", "").replace("L['self']", ""),
        source=source_of(node.meta.get("stack_trace") or ""),
        inputs=tuple(other.name for other in node.all_input_nodes),
        compute=compute,
        item=int(str(node.args[1])) if node.target is operator.getitem and isinstance(node.args[1], int) else None,
    )
