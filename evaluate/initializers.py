"""The weights that an ONNX graph holds, in itself or in files beside it."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from evaluate.reference_graph import all_nodes


def initializers(model: onnx.ModelProto, files: Mapping[str, bytes]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the name and the values of each initializer; those in files beside the graph are read from `files`.

    Args:
        model: The graph.
        files: Contents of the files beside it, by name; initializers in others are left out.
    """
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            yield tensor.name, numpy_helper.to_array(tensor)
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        content = files.get(where.get("location", ""))
        if content is not None:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            values = np.frombuffer(content, dtype, count=math.prod(tensor.dims), offset=int(where.get("offset", 0)))
            yield tensor.name, values.reshape(tuple(tensor.dims))


def read_initializers(model: onnx.ModelProto, files: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    """Return the initializers and constants of a graph that any of its nodes reads, by name."""
    read = {name for node in all_nodes(model) for name in node.input} | {value.name for value in model.graph.output}
    found = {name: values for name, values in initializers(model, files) if name in read}
    return found | {name: values for name, values in constants(model).items() if name in read}


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Return the tensors that nodes of a graph carry as constants, by name."""
    return {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value"
    }
