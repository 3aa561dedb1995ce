"""float16: from the first layer with weights to the last; what prepares the input and what follows stay float32."""

import ast
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray

from export.closeness import first_output, measure_closeness
from export.errors import ExportError
from export.graph_job import GraphFile, GraphJob
from export.memory import release_memory
from export.onnx_graph import (
    GRAPH,
    GraphRunner,
    encode_graph,
    infer_shapes,
    onnx_files,
    read_float32_graph,
    remove_round_trips,
    weights_path,
    write_graph,
)
from export.quiet import quiet
from export.to_onnx import check_contract

HALF_GRAPH = "graph.fp16.onnx"
GREATEST = 65_504.0
"""Greatest finite float16."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "GRU", "LSTM", "MatMul", "RNN"})
_BATCH = 16


def write_fp16(job: GraphJob) -> tuple[GraphFile, ...]:
    """Write ``graph.fp16.onnx`` from ``graph.onnx``; inputs and outputs keep their dtypes.

    Raises:
        ExportError: there is no ``graph.onnx``, it has no layer with weights, or a value does not fit into float16.
    """
    model = read_float32_graph(job, "onnx-fp16")
    source = job.folder / GRAPH
    float32_nodes = _outside_the_layers(model)
    _check_weights(model, float32_nodes)
    half = _convert(model, float32_nodes, infer=not weights_path(source).exists())
    del model
    path = job.folder / HALF_GRAPH
    written = encode_graph(half, path, inline_bytes=job.inline_bytes)
    check_contract(written, inputs=job.inputs, outputs=job.outputs)
    write_graph(written, path)
    del half, written
    release_memory(source.stat().st_size)
    rows = dict(job.calibration) or {
        spec.name: example.numpy() for spec, example in zip(job.inputs, job.examples, strict=True)
    }
    greatest = _check_range(path, rows)
    closeness = measure_closeness(path, first_output(source, rows, job), rows, job)
    note = f"{closeness}; the greatest value inside was {greatest:,.4g} of at most {GREATEST:,.0f}"
    return onnx_files(path, precision="float16", note=note)


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


def _check_weights(model: onnx.ModelProto, float32_nodes: list[str]) -> None:
    """Check that weights fit: the converter would cut them off without a word."""
    kept = set(float32_nodes)
    used = {name: node for node in model.graph.node if node.name not in kept for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name in used and tensor.data_type == onnx.TensorProto.FLOAT:
            values = np.abs(onnx.numpy_helper.to_array(tensor))
            if values.size and not values.max() <= GREATEST:
                raise ExportError(
                    f"weight {tensor.name} reaches {values.max():,.6g}, but float16 ends at {GREATEST:,.0f}; "
                    "leave onnx-fp16 out, or train with weight decay"
                )


def _convert(model: onnx.ModelProto, float32_nodes: list[str], *, infer: bool) -> onnx_ir.Model:
    from onnxruntime.transformers.float16 import (  # type: ignore[import-untyped]
        DEFAULT_OP_BLOCK_LIST,
        convert_float_to_float16,
    )

    with quiet():
        if infer:  # a graph above protobuf's limit cannot be handed to it
            infer_shapes(model)
        half = convert_float_to_float16(
            model,
            keep_io_types=True,
            disable_shape_infer=True,  # it would hold the weights four times
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


def _check_range(path: Path, rows: Mapping[str, NDArray[Any]]) -> float:
    """Run every layer on real rows, and return the greatest value that any of them gave.

    Raises:
        ExportError: a layer gave infinity or NaN.
    """
    probe = onnx.load(path, load_external_data=False)
    known = {value.name: value for value in (*probe.graph.value_info, *probe.graph.output)}
    half = [
        (name, node)
        for node in probe.graph.node
        for name in node.output
        if name in known and known[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    ]
    names = tuple(name for name, _ in half)
    listed = {value.name for value in probe.graph.output}
    probe.graph.output.extend(known[name] for name in names if name not in listed)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".onnx") as place:  # beside its weights, where it has any
        del known
        write_graph(probe, Path(place.name))
        del probe
        runner = GraphRunner(Path(place.name), names, options)
    greatest = 0.0
    for start in range(0, len(next(iter(rows.values()))), _BATCH):
        results = runner.run({name: values[start : start + _BATCH] for name, values in rows.items()})
        for name, node in half:
            values = results[name]
            if not np.isfinite(values).all():
                raise ExportError(
                    f"layer {_layer(node) or name} gives values beyond float16's {GREATEST:,.0f} on real rows; "
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
