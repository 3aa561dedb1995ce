"""Faults planted into a right ONNX graph, each with the nodes that a search for it must name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

_SWAPS = {
    "Relu": "Abs",
    "Tanh": "Softsign",
    "Sigmoid": "HardSigmoid",
    "Sub": "Add",
    "Add": "Sub",
    "Mul": "Add",
    "MaxPool": "AveragePool",
    "Elu": "Celu",
    "Gelu": "Relu",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planted:
    """A wrong graph.

    Attributes:
        fault: What was planted, and where.
        content: The graph's file.
        nodes: Any of these is the right answer.
    """

    fault: str
    content: bytes
    nodes: frozenset[str]


def plant_all(content: bytes) -> Iterator[Planted]:
    """Plant every fault that a graph has a place for, one at a time."""
    model = onnx.load_from_string(content)
    for index, node in enumerate(model.graph.node):
        for fault, plant in _PLANTS.items():
            spoilt = onnx.load_from_string(content)
            nodes = plant(spoilt.graph, spoilt.graph.node[index])
            if nodes:
                yield Planted(
                    fault=f"{fault} at {node.op_type} {node.name}",
                    content=spoilt.SerializeToString(),
                    nodes=frozenset(nodes),
                )


def _weight(graph: GraphProto, node: NodeProto, place: int) -> TensorProto | None:
    """Return the weight that a node reads at a place, where no other node reads it."""
    if len(node.input) <= place or sum(list(other.input).count(node.input[place]) for other in graph.node) != 1:
        return None
    tensor = next((tensor for tensor in graph.initializer if tensor.name == node.input[place]), None)
    return tensor if tensor is not None and tensor.data_type == TensorProto.FLOAT else None


def _change(tensor: TensorProto, change: Callable[[np.ndarray], np.ndarray]) -> None:
    values = change(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def _scale_weight(graph: GraphProto, node: NodeProto) -> list[str]:
    tensor = _weight(graph, node, 1) if node.op_type in {"Conv", "Gemm", "MatMul"} else None
    if tensor is None:
        return []

    def scale(values: np.ndarray) -> np.ndarray:
        values.reshape(-1)[np.abs(values).argmax()] *= 1.05
        return values

    _change(tensor, scale)
    return [node.name]


def _round_weight(graph: GraphProto, node: NodeProto) -> list[str]:
    tensor = _weight(graph, node, 1) if node.op_type in {"Conv", "Gemm", "MatMul"} else None
    if tensor is None:
        return []
    _change(tensor, lambda values: values.astype(np.float16))
    return [node.name]


def _drop_bias(graph: GraphProto, node: NodeProto) -> list[str]:
    if node.op_type in {"Conv", "Gemm"} and len(node.input) == 3:
        del node.input[2]
        return [node.name]
    tensor = _weight(graph, node, 1) if node.op_type == "Add" else None
    if tensor is None:
        return []
    _change(tensor, np.zeros_like)
    return [node.name]


def _epsilon(_graph: GraphProto, node: NodeProto) -> list[str]:
    return _set(node, "epsilon", 1e-3) if node.op_type == "LayerNormalization" else []


def _gelu(_graph: GraphProto, node: NodeProto) -> list[str]:
    return _set(node, "approximate", "tanh") if node.op_type == "Gelu" else []


def _padding(_graph: GraphProto, node: NodeProto) -> list[str]:
    if node.op_type == "Pad":
        return _set(node, "mode", "edge")
    pads = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "pads"), [])
    if not any(pads) or node.op_type not in {"Conv", "AveragePool"}:
        return []
    half = len(pads) // 2
    return _set(node, "pads", [0] * half + [first + last for first, last in zip(pads[:half], pads[half:], strict=True)])


def _counting(_graph: GraphProto, node: NodeProto) -> list[str]:
    return _set(node, "count_include_pad", 0) if node.op_type == "AveragePool" else []


def _axis(_graph: GraphProto, node: NodeProto) -> list[str]:
    return _set(node, "axis", 0) if node.op_type == "Softmax" else []


def _order(_graph: GraphProto, node: NodeProto) -> list[str]:
    if node.op_type != "Concat" or len(node.input) < 2:
        return []
    names = list(node.input)[::-1]
    del node.input[:]
    node.input.extend(names)
    return [node.name]


def _swap(_graph: GraphProto, node: NodeProto) -> list[str]:
    if node.op_type not in _SWAPS or not node.output[0].isidentifier():
        return []
    node.op_type = _SWAPS[node.op_type]
    for attribute in [attribute for attribute in node.attribute if attribute.name in {"storage_order", "approximate"}]:
        node.attribute.remove(attribute)
    return [node.name]


def _half(graph: GraphProto, node: NodeProto) -> list[str]:
    """Take a value through float16 on its way to whoever reads it."""
    if node.op_type not in {"Conv", "Gemm", "Add", "Mul", "LayerNormalization", "Div"}:
        return []
    return _insert(graph, node, [("Cast", {"to": TensorProto.FLOAT16}), ("Cast", {"to": TensorProto.FLOAT})])


def _extra(graph: GraphProto, node: NodeProto) -> list[str]:
    if node.op_type not in {"Conv", "Gemm", "LayerNormalization"}:
        return []
    return _insert(graph, node, [("Softsign", {})])


def _left_out(graph: GraphProto, node: NodeProto) -> list[str]:
    """Let whoever reads an activation read what it is given instead."""
    if node.op_type not in {"Relu", "Tanh", "Sigmoid", "LayerNormalization", "Gelu", "Elu"}:
        return []
    for other in graph.node:
        for place, name in enumerate(other.input):
            if name == node.output[0]:
                other.input[place] = node.input[0]
    missing = node.name
    graph.node.remove(node)
    return [missing]


def _insert(graph: GraphProto, before: NodeProto, added: list[tuple[str, dict[str, int]]]) -> list[str]:
    if _is_output(graph, before):
        return []
    own = value = before.output[0]
    readers = [other for other in graph.node if own in other.input]
    place = list(graph.node).index(before)
    names = []
    for offset, (operator, settings) in enumerate(added, 1):
        name = f"{own}_added_{offset}"
        node = helper.make_node(operator, [value], [name], name=f"node_{name}")
        node.attribute.extend(helper.make_attribute(key, setting) for key, setting in settings.items())
        graph.node.insert(place + offset, node)
        names.append(node.name)
        value = name
    for other in readers:
        for index, name in enumerate(other.input):
            if name == own:
                other.input[index] = value
    return names


def _set(node: NodeProto, name: str, value: object) -> list[str]:
    for attribute in [attribute for attribute in node.attribute if attribute.name == name]:
        node.attribute.remove(attribute)
    node.attribute.append(helper.make_attribute(name, value))
    return [node.name]


def _is_output(graph: GraphProto, node: NodeProto) -> bool:
    return any(value.name in node.output for value in graph.output)


_PLANTS: dict[str, Callable[[GraphProto, NodeProto], list[str]]] = {
    "one weight +5 %": _scale_weight,
    "weights through float16": _round_weight,
    "bias dropped": _drop_bias,
    "epsilon 1e-3": _epsilon,
    "GELU by tanh": _gelu,
    "other padding": _padding,
    "padding not counted": _counting,
    "other axis": _axis,
    "inputs in another order": _order,
    "another operator": _swap,
    "value through float16": _half,
    "Softsign added": _extra,
    "left out": _left_out,
}
