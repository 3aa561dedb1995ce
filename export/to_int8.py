"""int8: layers with weights, quantised by the calibration method that measures best on rows it was not made with."""

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir

from export.calibrate import BATCH, METHODS, measure_ranges
from export.closeness import Closeness, first_output, measure_closeness
from export.errors import ExportError
from export.graph_job import GraphFile, GraphJob
from export.memory import LARGE_BYTES, release_memory
from export.onnx_graph import (
    encode_graph,
    onnx_files,
    remove_round_trips,
    weights_bytes,
    weights_path,
    write_graph,
)
from export.quiet import quiet
from export.to_onnx import check_contract
from export.weights_beside import write_beside

INT8_GRAPH = "graph.int8.onnx"
LAYERS = ("Conv", "Gemm", "MatMul")
LEAST_ROWS = 16


def write_int8(job: GraphJob) -> tuple[GraphFile, ...]:
    """Write ``graph.int8.onnx`` from ``graph.onnx``.

    Every second calibration row gives the ranges, the others choose the method: fewest decisions changed, then the
    least error.

    Raises:
        ExportError: there is no ``graph.onnx``, there are too few calibration rows, or nothing can be quantised.
    """
    rows = len(next(iter(job.calibration.values()), ()))
    ranges = {name: values[0::2] for name, values in job.calibration.items()}
    others = {name: values[1::2] for name, values in job.calibration.items()}
    found: dict[str, Closeness] = {}
    with tempfile.TemporaryDirectory(dir=job.folder) as place:
        source = write_beside(job, "onnx-int8", Path(place))
        _check_possible(source, rows)
        size_bytes = weights_bytes(source)
        release_memory(size_bytes)
        expected = first_output(source, others, job, lean=size_bytes >= LARGE_BYTES)
        job.on_start("writing onnx-int8: measuring ranges")
        measured_ranges = measure_ranges(source, ranges, operators=LAYERS, folder=Path(place))
        for method in METHODS:
            tried = replace(job, folder=Path(place) / method)
            tried.folder.mkdir()
            job.on_start(f"writing onnx-int8: {method} calibration")
            release_memory(size_bytes)
            path = _quantize(source, method, measured_ranges[method], tried)
            release_memory(size_bytes)
            found[method] = measure_closeness(path, expected, others, job)
        best = min(METHODS, key=lambda method: found[method].order)
        path = job.folder / INT8_GRAPH
        (Path(place) / best / INT8_GRAPH).rename(path)
        written = weights_path(Path(place) / best / INT8_GRAPH)
        if written.exists():
            written.rename(weights_path(path))
    measured = "; ".join(f"{method}: {found[method]}" for method in METHODS)
    count = len(next(iter(ranges.values()))) // BATCH * BATCH
    note = f"{best} calibration over {count} rows, chosen on others ({measured})"
    return onnx_files(path, precision="int8", note=note)


def _check_possible(source: Path, rows: int) -> None:
    if rows < LEAST_ROWS:
        raise ExportError(
            f"onnx-int8 measures ranges on rows of the training data, and here are {rows}, but at least {LEAST_ROWS} "
            "are needed; export a run whose data is there, or leave onnx-int8 out"
        )
    if not any(node.op_type in LAYERS for node in onnx.load(source, load_external_data=False).graph.node):
        raise ExportError(
            f"the network has no {', '.join(LAYERS)}, so there is nothing to compute in int8; leave onnx-int8 out"
        )


def _quantize(source: Path, method: str, ranges: Path, job: GraphJob) -> Path:
    from onnxruntime.quantization import (  # type: ignore[import-untyped]
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    target, path = job.folder / f"{source.parent.name}.onnx", job.folder / INT8_GRAPH
    with quiet():
        quantize_static(
            source,
            target,
            None,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(LAYERS),
            per_channel=True,
            # 7 bits of weights: CPUs without VNNI add pairs of products in 16 bits, and 8 bits would overflow there,
            # so that the same file would answer otherwise on another machine
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            calibrate_method=CalibrationMethod[method],
            calibration_cache_path=ranges,
        )
    # the outputs themselves are not rounded to 256 steps: many rows would tie
    model = onnx.load(target)  # with its weights, which go into one file again
    for tensor in model.graph.initializer:
        tensor.ClearField("data_location")
    quantized = remove_round_trips(onnx_ir.from_proto(model), "QuantizeLinear", "DequantizeLinear", only_outputs=True)
    written = encode_graph(quantized, path, inline_bytes=job.inline_bytes)
    check_contract(written, inputs=job.inputs, outputs=job.outputs)
    write_graph(written, path)
    return path
