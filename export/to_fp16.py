"""float16: from the first layer with weights to the last; what prepares the input and what follows stay float32."""

import ast
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
from numpy.typing import NDArray

from export.closeness import first_output, measure_closeness
from export.errors import ExportError
from export.graph_job import GraphFile, GraphJob
from export.memory import LARGE_BYTES, release_memory
from export.onnx_graph import (
    GraphRunner,
    encode_graph,
    infer_shapes,
    lean_options,
    onnx_files,
    remove_round_trips,
    weights_bytes,
    write_graph,
)
from export.quiet import quiet
from export.to_onnx import check_contract
from export.weights_beside import is_beside, read_tensor, write_beside

HALF_GRAPH = "graph.fp16.onnx"
GREATEST = 65_504.0
"""Greatest finite float16."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "GRU", "LSTM", "MatMul", "RNN"})
_BATCH = 16
_PIECE = 1 << 20
_CAST_BACK = "_cast_to_fp32"  # what the converter calls it


def write_fp16(job: GraphJob) -> tuple[GraphFile, ...]:
    """Write ``graph.fp16.onnx`` from ``graph.onnx``; inputs and outputs keep their dtypes.

    Raises:
        ExportError: there is no ``graph.onnx``, it has no layer with weights, or a value does not fit into float16.
    """
    path = job.folder / HALF_GRAPH
    rows = dict(job.calibration) or {
        spec.name: example.numpy() for spec, example in zip(job.inputs, job.examples, strict=True)
    }
    with tempfile.TemporaryDirectory(dir=job.folder) as place:
        source = write_beside(job, "onnx-fp16", Path(place))
        size_bytes = weights_bytes(source)
        release_memory(size_bytes)
        written = _half_graph(source)
        check_contract(written, inputs=job.inputs, outputs=job.outputs)
        if sum(tensor.ByteSize() for tensor in written.graph.initializer) > job.inline_bytes:
            written = encode_graph(onnx_ir.from_proto(written), path, inline_bytes=job.inline_bytes)
        write_graph(written, path)
        del written
        release_memory(size_bytes)
        greatest = _check_range(path, rows)
        release_memory(size_bytes)
        lean = size_bytes >= LARGE_BYTES
        expected = first_output(source, rows, job, lean=lean)
        closeness = measure_closeness(path, expected, rows, job, lean=lean)
    note = f"{closeness}; the greatest value inside was {greatest:,.4g} of at most {GREATEST:,.0f}"
    return onnx_files(path, precision="float16", note=note)


def _half_graph(source: Path) -> onnx.ModelProto:
    """Convert a graph whose weights stand beside it: first the graph without them, then one weight after the other."""
    model = onnx.load(source, load_external_data=False)
    float32_nodes = _outside_the_layers(model)
    _check_weights(model, float32_nodes, source.parent)
    with quiet():
        infer_shapes(model)
    beside = {
        tensor.name: onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in model.graph.initializer
    }
    beside = {name: tensor for name, tensor in beside.items() if is_beside(tensor)}
    for tensor in model.graph.initializer:
        if tensor.name in beside:  # the converter looks at shapes, of nothing here, and changes the type
            for field in ("dims", "external_data", "data_location"):
                tensor.ClearField(field)
            tensor.dims.append(0)
    written = onnx_ir.to_proto(_convert(model, float32_nodes))
    del model
    for value in written.graph.value_info:  # weights, and what is cast of them, have weights' shapes
        described = beside.get(value.name.removesuffix(_CAST_BACK))
        if described is not None:
            element = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, element, [*described.dims]))
    for tensor in written.graph.initializer:
        if tensor.name in beside:
            weight = beside[tensor.name]
            tensor.dims[:] = weight.dims
            values = read_tensor(weight, source.parent)
            half = weight.data_type != tensor.data_type
            tensor.raw_data = _to_half(values) if half else values.tobytes()
    return written


def _outside_the_layers(model: onnx.ModelProto) -> list[str]:
    """Name every node, and return those before the first layer with weights and behind the last, which stay float32."""
    producer: dict[str, int] = {}
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{index}"
        producer.update(dict.fromkeys(node.output, index))
    after, before = set[int](), set[int]()
    for index, node in enumerate(model.graph.node):
        if node.op_type in WEIGHTED or any(producer.get(name) in after for name in node.input):
            after.add(index)
    for index, node in reversed(list(enumerate(model.graph.node))):
        if node.op_type in WEIGHTED or index in before:
            before.update({index, *(producer[name] for name in node.input if name in producer)})
    layers = after & before
    if not layers:
        raise ExportError(
            f"the network has no layer of {', '.join(sorted(WEIGHTED))}, so there is nothing to compute in float16; "
            "leave onnx-fp16 out"
        )
    return [node.name for index, node in enumerate(model.graph.node) if index not in layers]


def _check_weights(model: onnx.ModelProto, float32_nodes: list[str], folder: Path) -> None:
    """Check that weights fit: the converter would cut them off without a word."""
    kept = set(float32_nodes)
    used = {name: node for node in model.graph.node if node.name not in kept for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name in used and tensor.data_type == onnx.TensorProto.FLOAT:
            values = read_tensor(tensor, folder)
            greatest = max(values.max(), -values.min()) if values.size else 0.0  # NaN, where one is
            if not greatest <= GREATEST:
                raise ExportError(
                    f"weight {tensor.name} reaches {greatest:,.6g}, but float16 ends at {GREATEST:,.0f}; "
                    "leave onnx-fp16 out, or train with weight decay"
                )


def _convert(model: onnx.ModelProto, float32_nodes: list[str]) -> onnx_ir.Model:
    from onnxruntime.transformers.float16 import (  # type: ignore[import-untyped]
        DEFAULT_OP_BLOCK_LIST,
        convert_float_to_float16,
    )

    with quiet():
        half = convert_float_to_float16(
            model,
            keep_io_types=True,
            disable_shape_infer=True,  # it was done, and would hold weights four times
            op_block_list=DEFAULT_OP_BLOCK_LIST,
            node_block_list=float32_nodes,
        )
    # for each of several nodes that stay float32, the converter casts what they share, under the same name
    nodes: list[onnx.NodeProto] = []
    declared = set[str]()
    for node in half.graph.node:
        if not declared & set(node.output):
            nodes.append(node)
            declared |= set(node.output) - {""}
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    # and between two of them it rounds to float16 and back
    return remove_round_trips(onnx_ir.from_proto(half), "Cast", "Cast")


def _to_half(values: NDArray[np.float32]) -> bytes:
    """Round one weight as the converter does, piece by piece: it makes several copies of what it is given."""
    from onnxruntime.transformers.float16 import convert_np_to_float16

    flat = values.reshape(-1)
    half = np.empty(flat.size, dtype=np.float16)
    for start in range(0, flat.size, _PIECE):
        half[start : start + _PIECE] = convert_np_to_float16(flat[start : start + _PIECE])
    return half.tobytes()


def _check_range(path: Path, rows: Mapping[str, NDArray[Any]]) -> float:
    """Run every layer on real rows, and return the greatest value that any of them gave.

    Raises:
        ExportError: a layer gave infinity or NaN.
    """
    probe = onnx.load(path, load_external_data=False)
    known = {value.name: value for value in (*probe.graph.value_info, *probe.graph.output)}
    half = [  # no nodes: each would keep the whole graph
        (name, _layer(node) or name)
        for node in probe.graph.node
        for name in node.output
        if name in known and known[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    ]
    names = tuple(name for name, _ in half)
    listed = {value.name for value in probe.graph.output}
    probe.graph.output.extend(known[name] for name in names if name not in listed)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".onnx") as place:  # beside its weights, where it has any
        del known
        write_graph(probe, Path(place.name))
        del probe
        runner = GraphRunner(Path(place.name), names, lean_options())
    greatest = 0.0
    for start in range(0, len(next(iter(rows.values()))), _BATCH):
        results = runner.run({name: values[start : start + _BATCH] for name, values in rows.items()})
        for name, layer in half:
            values = results[name]
            if not np.isfinite(values).all():
                raise ExportError(
                    f"layer {layer} gives values beyond float16's {GREATEST:,.0f} on real rows; "
                    "leave onnx-fp16 out, or normalise what goes into that layer"
                )
            greatest = max(greatest, float(np.abs(values).max(initial=0)))
    return greatest


def _layer(node: onnx.NodeProto) -> str:
    """Return the module's name in the network that a node was exported from, with its operator."""
    for prop in node.metadata_props:
        if prop.key == "pkg.torch.onnx.name_scopes":
            scopes: list[str] = ast.literal_eval(prop.value)
            return f"{scopes[-2] if len(scopes) > 1 else ''} ({node.op_type})".strip()
    return ""
