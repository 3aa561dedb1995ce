"""Reading, tidying and writing ONNX graphs, with their weights in a file beside them where those are many."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data
from onnx_ir.passes.common import IdentityEliminationPass, RemoveUnusedNodesPass, TopologicalSortPass

from export.errors import ExportError
from export.graph_job import GraphFile, GraphJob
from serve.bundle import Precision
from serve.devices import usable_cpus
from serve.onnx_runner import ORT_ERRORS

GRAPH = "graph.onnx"
SMALL_BYTES = 1 << 16
"""Greatest size of a tensor that may be a shape, or what one is computed from."""

_GRAPH_KEY = bytes([onnx.ModelProto.GRAPH_FIELD_NUMBER << 3 | 2])
_SEVERITY_ERROR = 3
_INITIALIZER_KEY = bytes([onnx.GraphProto.INITIALIZER_FIELD_NUMBER << 3 | 2])


def weights_path(path: Path) -> Path:
    """Return where the weights of an ONNX graph go that are too many for its own file."""
    return path.with_name(f"{path.name}.data")


def weights_bytes(path: Path) -> int:
    """Return the size of an ONNX graph with its weights."""
    return sum(file.stat().st_size for file in (path, weights_path(path)) if file.exists())


def onnx_files(path: Path, *, precision: Precision, note: str = "") -> tuple[GraphFile, ...]:
    """Return an ONNX graph, and the file with its weights where it has one, as the manifest lists them."""
    graph = GraphFile(path=path.name, format="onnx", precision=precision, note=note)
    weights = weights_path(path)
    return (graph, GraphFile(path=weights.name, format="onnx-data")) if weights.exists() else (graph,)


def encode_graph(model: onnx_ir.Model, path: Path, *, inline_bytes: int) -> onnx.ModelProto:
    """Return a graph as it goes into a file; where its weights are too many for one, they are written beside it.

    Args:
        model: The graph with its weights.
        path: Where the graph will be written by `write_graph`.
        inline_bytes: Most bytes of weights inside the file.
    """
    tensors = [value.const_value for value in model.graph.initializers.values()]
    if sum(tensor.nbytes for tensor in tensors if tensor is not None) <= inline_bytes:
        return onnx_ir.to_proto(model)
    onnx_ir.save(model, path, external_data=weights_path(path).name)
    return onnx.load(path, load_external_data=False)


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, the same bytes every time; its weights leave the model one by one, so there is no second copy.

    Args:
        model: The graph; it has no weights any more afterwards.
        path: File to write.

    Source: a message inside another one is its field's key, its length and its bytes; fields may stand in any order.
    """
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    graph = model.graph.SerializeToString(deterministic=True)
    model.ClearField("graph")
    lengths = [tensor.ByteSize() for tensor in tensors]
    heads = [_INITIALIZER_KEY + _varint(length) for length in lengths]
    with path.open("wb") as file:
        file.write(model.SerializeToString(deterministic=True))
        file.write(_GRAPH_KEY + _varint(len(graph) + sum(map(len, heads)) + sum(lengths)) + graph)
        for head, tensor in zip(heads, tensors, strict=True):
            file.write(head)
            file.write(tensor.SerializeToString(deterministic=True))


def _varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the least significant first."""
    digits = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(digit | 128 for digit in digits[:-1]), digits[-1]])


class GraphRunner:
    """Runs a graph that was just written, on the CPU, as it is served.

    ONNX Runtime is given the file: handed its bytes, as a server hands over what it has checked, it would hold three
    times the weights. Weights beside the file are read, too.
    """

    def __init__(self, path: Path, outputs: tuple[str, ...], options: ort.SessionOptions | None = None) -> None:
        options = options or ort.SessionOptions()
        options.log_severity_level = _SEVERITY_ERROR
        options.intra_op_num_threads = usable_cpus()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise ExportError(
                f"{path.name} cannot be run by ONNX Runtime {ort.__version__} ({error}); leave its format out"
            ) from error
        self._outputs = outputs

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        feeds = {name: np.ascontiguousarray(values) for name, values in inputs.items()}
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))


def open_graph(path: Path, job: GraphJob, *, lean: bool = False) -> GraphRunner:
    """Open a graph that was just written, as it is served, or else in little memory."""
    return GraphRunner(path, tuple(spec.name for spec in job.outputs), lean_options() if lean else None)


def lean_options() -> ort.SessionOptions:
    """Return options with which ONNX Runtime holds a graph's weights once, and runs the graph as it is written.

    It would pack weights of layers, and compute others from them, beside those that it has read.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED  # else all weights are cast before the first layer
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def infer_shapes(model: onnx.ModelProto) -> None:
    """Write the shapes of all values into a graph, without another copy of its weights: large ones count as inputs."""
    slim = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    for field in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(slim.graph, field).extend(getattr(model.graph, field))
    slim.graph.name = model.graph.name
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= SMALL_BYTES and not uses_external_data(tensor):
            slim.graph.initializer.append(tensor)
        else:
            slim.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    inferred = onnx.shape_inference.infer_shapes(slim)
    for field in ("output", "value_info"):
        values = getattr(model.graph, field)
        del values[:]
        values.extend(getattr(inferred.graph, field))


def remove_round_trips(model: onnx_ir.Model, there: str, back: str, *, only_outputs: bool = False) -> onnx_ir.Model:
    """Take out pairs of nodes that convert float32 values and at once convert them back.

    Args:
        model: The graph, changed in place.
        there: Operator that loses precision.
        back: Operator that comes back to float32.
        only_outputs: Take out those pairs alone that end in an output of the graph.
    """
    for node in model.graph:
        inner = node.inputs[0].producer() if node.op_type == back and node.inputs[0] is not None else None
        if inner is None or inner.op_type != there or node.outputs[0].dtype != onnx_ir.DataType.FLOAT:
            continue
        source = inner.inputs[0]
        if source is None:
            continue
        if there == "QuantizeLinear" and source.dtype is None:
            source.dtype = onnx_ir.DataType.FLOAT  # as its scale is; the quantiser does not write it down
        if source.dtype != onnx_ir.DataType.FLOAT:
            continue
        if only_outputs and not node.outputs[0].is_graph_output():
            continue
        identity = onnx_ir.node("Identity", [source])
        identity.outputs[0].type, identity.outputs[0].shape = source.type, source.shape
        name = node.outputs[0].name
        onnx_ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], [identity], node.outputs, identity.outputs
        )
        identity.outputs[0].name = name
    for tidy in (RemoveUnusedNodesPass(), IdentityEliminationPass(), TopologicalSortPass()):
        tidy(model)
    return model
