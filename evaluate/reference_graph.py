"""An ONNX graph by ONNX's own reference implementation: slow, and what the graph says, in the precision one likes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from serve.runner import Runner

_WITH_DTYPE = {"Cast": "to", "EyeLike": "dtype"}


class ReferenceRunner:
    """Runs a graph with NumPy, in the precision it has.

    Args:
        model: The graph, with its weights inside.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._session = ReferenceEvaluator(model)
        self._outputs = [value.name for value in model.graph.output]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        with np.errstate(all="ignore"):  # a softmax that underflows is right
            return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


class DoubleRunner(ReferenceRunner):
    """Runs a float32 graph in float64; casts to narrower types, which may be a fault, stay.

    Args:
        model: The graph, with its weights inside; it is not changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        for graph in _graphs(wide.graph):
            _widen(graph)
        for function in wide.functions:
            _widen_nodes(function)
            for node in function.node:
                for inner in _inner_graphs(node):
                    _widen(inner)
        super().__init__(wide)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        return super().run({name: v.astype(np.float64) if v.dtype == np.float32 else v for name, v in inputs.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRunners:
    """Make what runs the graph of a candidate by ONNX's reference implementation, slowly, in either precision."""

    float32: Callable[[], Runner]
    float64: Callable[[], Runner]


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Return every node of a model, also those of branches, loops and functions."""
    for graph in all_graphs(model):
        yield from graph.node
    for function in model.functions:
        for node in function.node:
            yield node
            for inner in _inner_graphs(node):
                yield from inner.node


def all_graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Return the graph of a model, and those of its branches and loops."""
    return _graphs(model.graph)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        yield from _inner_graphs(node)


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from _graphs(attribute.g)


def _widen(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    _widen_nodes(graph)


def _widen_nodes(part: onnx.GraphProto | onnx.FunctionProto) -> None:
    for node in part.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            if attribute.name == _WITH_DTYPE.get(node.op_type) and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
