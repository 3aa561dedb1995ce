"""An ONNX graph in float64, by ONNX's own reference implementation: slow, and the truth of a graph that was edited."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator


class DoubleRunner:
    """Runs a float32 graph in float64; casts to narrower types, which may be the fault, stay.

    Args:
        model: The graph; it is not changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        del wide.graph.value_info[:]
        for tensor in wide.graph.initializer:
            _widen(tensor)
        for value in (*wide.graph.input, *wide.graph.output):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                value.type.tensor_type.elem_type = TensorProto.DOUBLE
        for node in wide.graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    _widen(attribute.t)
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.DOUBLE
        self._session = ReferenceEvaluator(wide)
        self._outputs = [value.name for value in wide.graph.output]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        feeds = {
            name: values.astype(np.float64) if values.dtype == np.float32 else values for name, values in inputs.items()
        }
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
