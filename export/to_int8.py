"""int8: layers with weights, quantised by the calibration method that measures best on rows it was not made with."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir
from numpy.typing import NDArray

from export.closeness import Closeness, first_output, measure_closeness
from export.errors import ExportError
from export.graph_job import GraphFile, GraphJob
from export.memory import release_memory
from export.onnx_graph import (
    GRAPH,
    encode_graph,
    onnx_files,
    read_float32_graph,
    remove_round_trips,
    weights_path,
    write_graph,
)
from export.quiet import quiet
from export.to_onnx import check_contract

INT8_GRAPH = "graph.int8.onnx"
METHODS = ("MinMax", "Entropy", "Percentile")
"""How onnxruntime.quantization finds ranges in what the layers gave."""

LAYERS = ("Conv", "Gemm", "MatMul")
LEAST_ROWS = 16
_BATCH = 8


class Batches:
    """Hands calibration rows to onnxruntime.quantization, batch by batch, all of one size.

    It keeps what every layer gave for all rows that it takes in one stride, so a stride is one batch.
    """

    def __init__(self, rows: Mapping[str, NDArray[Any]]) -> None:
        count = len(next(iter(rows.values())))
        starts = range(0, count - count % _BATCH, _BATCH)
        self._batches = [{name: values[start : start + _BATCH] for name, values in rows.items()} for start in starts]
        self.set_range(0, len(self._batches))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Hand out these batches next."""
        self._next = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return a batch, or None after the last."""
        return next(self._next, None)


def write_int8(job: GraphJob) -> tuple[GraphFile, ...]:
    """Write ``graph.int8.onnx`` from ``graph.onnx``.

    Every second calibration row gives the ranges, the others choose the method: fewest decisions changed, then the
    least error.

    Raises:
        ExportError: there is no ``graph.onnx``, there are too few calibration rows, or nothing can be quantised.
    """
    model = read_float32_graph(job, "onnx-int8")
    rows = len(next(iter(job.calibration.values()), ()))
    if rows < LEAST_ROWS:
        raise ExportError(
            f"onnx-int8 measures ranges on rows of the training data, and here are {rows}, but at least {LEAST_ROWS} "
            "are needed; export a run whose data is there, or leave onnx-int8 out"
        )
    if not any(node.op_type in LAYERS for node in model.graph.node):
        raise ExportError(
            f"the network has no {', '.join(LAYERS)}, so there is nothing to compute in int8; leave onnx-int8 out"
        )
    weights = weights_path(job.folder / GRAPH)
    ranges = {name: values[0::2] for name, values in job.calibration.items()}
    others = {name: values[1::2] for name, values in job.calibration.items()}
    found: dict[str, Closeness] = {}
    size_bytes = sum(path.stat().st_size for path in (job.folder / GRAPH, weights) if path.exists())
    with tempfile.TemporaryDirectory(dir=job.folder) as place:
        source = Path(place) / GRAPH
        # onnx.save and the quantiser would refuse to put weights beside it where the working directory has a file that
        # is called so (onnx 1.23): the first is not used, the second gets a name that no other file has
        if weights.exists():
            onnx_ir.save(onnx_ir.from_proto(model), source, external_data=weights_path(source).name)
        else:
            write_graph(onnx_ir.to_proto(onnx_ir.from_proto(model)), source)
        del model
        expected = first_output(job.folder / GRAPH, others, job)
        for method in METHODS:
            tried = replace(job, folder=Path(place) / method)
            tried.folder.mkdir()
            job.on_start(f"writing onnx-int8: {method} calibration")
            release_memory(size_bytes)
            path = _quantize(source, method, ranges, tried)
            release_memory(size_bytes)
            found[method] = measure_closeness(path, expected, others, job)
        best = min(METHODS, key=lambda method: found[method].order)
        path = job.folder / INT8_GRAPH
        (Path(place) / best / INT8_GRAPH).rename(path)
        written = weights_path(Path(place) / best / INT8_GRAPH)
        if written.exists():
            written.rename(weights_path(path))
    measured = "; ".join(f"{method}: {found[method]}" for method in METHODS)
    count = len(next(iter(ranges.values()))) // _BATCH * _BATCH
    note = f"{best} calibration over {count} rows, chosen on others ({measured})"
    return onnx_files(path, precision="int8", note=note)


def _quantize(source: Path, method: str, rows: Mapping[str, NDArray[Any]], job: GraphJob) -> Path:
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
            Batches(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(LAYERS),
            per_channel=True,
            # 7 bits of weights: CPUs without VNNI add pairs of products in 16 bits, and 8 bits would overflow there,
            # so that the same file would answer otherwise on another machine
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            use_external_data_format=weights_path(source).exists(),
            calibrate_method=CalibrationMethod[method],
            extra_options={"CalibStridedMinMax": 1},
        )
    # the outputs themselves are not rounded to 256 steps: many rows would tie
    quantized = remove_round_trips(onnx_ir.load(target), "QuantizeLinear", "DequantizeLinear", only_outputs=True)
    written = encode_graph(quantized, path, inline_bytes=job.inline_bytes)
    check_contract(written, inputs=job.inputs, outputs=job.outputs)
    write_graph(written, path)
    return path
