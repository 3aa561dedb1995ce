"""An ONNX graph in float64, by ONNX's own reference implementation: slow, and the truth of what the graph says."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

_WITH_DTYPE = {"Cast": "to", "EyeLike": "dtype"}


class DoubleRunner:
    """Runs a float32 graph in float64; casts to narrower types, which may be a fault, stay.

    Args:
        model: The graph, with its weights inside; it is not changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        for graph in _graphs(wide.graph):
            _widen(graph)
        self._session = ReferenceEvaluator(wide)
        self._outputs = [value.name for value in wide.graph.output]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        feeds = {
            name: values.astype(np.float64) if values.dtype == np.float32 else values for name, values in inputs.items()
        }
        with np.errstate(all="ignore"):  # a softmax that underflows is right
            return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
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
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            if attribute.name == _WITH_DTYPE.get(node.op_type) and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
