"""Ranges of what goes into layers and comes out of them, as onnxruntime.quantization finds them, in less memory.

Its own calibrators read the graph twice and hold both while a session runs, once for each method.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import (  # type: ignore[import-untyped]
    CalibrationMethod,
    HistogramCollector,
    TensorsData,
    save_tensors_data,
)

from export.onnx_graph import GraphRunner, lean_options, write_graph
from export.quiet import quiet

METHODS = ("MinMax", "Entropy", "Percentile")
"""How onnxruntime.quantization finds ranges in what the layers gave."""

BATCH = 8
_FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16})


def measure_ranges(
    source: Path, rows: Mapping[str, NDArray[Any]], *, operators: tuple[str, ...], folder: Path
) -> dict[str, Path]:
    """Run a graph on rows, and write the ranges of its values as each method finds them.

    Args:
        source: A graph of `write_beside`.
        rows: Rows of each input, ``(rows, …)``; those that fill no batch of `BATCH` are left out.
        operators: Layers whose inputs and outputs are measured.
        folder: Where the files go.

    Returns:
        A file by method, as `onnxruntime.quantization.quantize_static` reads them.
    """
    model = onnx.load(source, load_external_data=False)
    names = _values_around(model, operators)
    probe = source.with_name("ranges.onnx")  # beside its weights
    inputs = {value.name for value in model.graph.input}
    outputs = tuple(name for name in names if name not in inputs)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    write_graph(model, probe)
    runner = GraphRunner(probe, outputs, lean_options())
    ranges = _Ranges()
    with quiet():
        for batch in _batches(rows):
            ranges.add({**{name: batch[name] for name in names if name in inputs}, **runner.run(batch)})
        del runner
        probe.unlink()
        found = {method: folder / f"{method}.json" for method in METHODS}
        for method, path in found.items():
            save_tensors_data(TensorsData(CalibrationMethod[method], ranges.found_by(method)), path)
    return found


def _values_around(model: onnx.ModelProto, operators: tuple[str, ...]) -> tuple[str, ...]:
    """Name the float values that go into layers or come out of them; weights are none."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}
    weights = {tensor.name for tensor in graph.initializer}
    around = [name for node in graph.node if node.op_type in operators for name in (*node.input, *node.output)]
    return tuple(
        name
        for name in dict.fromkeys(around)
        if name in values and name not in weights and values[name].type.tensor_type.elem_type in _FLOATS
    )


def _batches(rows: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    count = len(next(iter(rows.values())))
    for start in range(0, count - count % BATCH, BATCH):
        yield {name: values[start : start + BATCH] for name, values in rows.items()}


class _Ranges:
    """Takes what layers gave, batch by batch, and keeps extremes and histograms of it.

    Source: the settings are those of create_calibrator in onnxruntime/quantization/calibrate.py, 1.31.
    """

    def __init__(self) -> None:
        self._extremes: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        self._histograms = {
            "Entropy": HistogramCollector(
                method="entropy", symmetric=False, num_bins=128, num_quantized_bins=128, percentile=None, scenario=None
            ),
            "Percentile": HistogramCollector(
                method="percentile",
                symmetric=True,
                num_bins=2048,
                num_quantized_bins=2048,
                percentile=99.999,
                scenario=None,
            ),
        }

    def add(self, values: Mapping[str, NDArray[Any]]) -> None:
        for name, array in values.items():
            if array.size:
                low, high = np.nanmin(array, keepdims=True).reshape(1), np.nanmax(array, keepdims=True).reshape(1)
                before = self._extremes.get(name, (low, high))
                self._extremes[name] = np.minimum(before[0], low), np.maximum(before[1], high)
        for histogram in self._histograms.values():
            histogram.collect({name: [array] for name, array in values.items()})

    def found_by(self, method: str) -> dict[str, Any]:
        if method == "MinMax":
            return dict(self._extremes)
        found: dict[str, Any] = self._histograms[method].compute_collection_result()
        return found
