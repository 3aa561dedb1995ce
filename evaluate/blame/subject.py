"""What of a bundle is looked at: which graph, on which rows, beside which operations of PyTorch's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.blame.pairs import Pair, onnx_reference, pair_onnx, pair_trace, trace_reference
from evaluate.eager import Eager
from evaluate.inputs import take
from evaluate.source import golden_of
from export.errors import ExportError
from export.first_line import first_line, last_line
from export.to_torchscript import load_torchscript
from export.work import flops_per_row
from serve.bundle import Bundle, BundleError, FileEntry
from serve.onnx_runner import ORT_ERRORS, OnnxRunner

_FLOPS = 2e9  # of all rows together: each run of the network counts, and there are a dozen
_MOST_ROWS, _LEAST_ROWS = 32, 2


def choose_graph(bundle: Bundle, name: str | None) -> FileEntry:
    """Return the graph to blame.

    Raises:
        BundleError: the bundle has none, or none of that name; or it is of no format for this.
    """
    graphs = [entry for entry in bundle.manifest.files if entry.format in {"onnx", "torchscript", "exported-program"}]
    if name is None:
        fit = [entry for entry in graphs if entry.format != "exported-program" and entry.precision in {None, "float32"}]
        fit.sort(key=lambda entry: entry.format != "onnx")
        if not fit:
            raise BundleError(
                f"{bundle.path} holds no ONNX or TorchScript graph in float32, but blame reads those; "
                "export it with --formats onnx"
            )
        return fit[0]
    entry = next((entry for entry in graphs if entry.path == name), None)
    if entry is None:
        found = ", ".join(entry.path for entry in graphs) or "none"
        raise BundleError(f"{bundle.path} holds no graph {name!r}; its graphs are {found}")
    if entry.format == "exported-program":
        raise BundleError(
            f"{name} is an exported program, but blame reads ONNX and TorchScript; give --graph with one of those"
        )
    return entry


def golden_rows(bundle: Bundle, eager: Eager) -> dict[str, NDArray[Any]]:
    """Return as many of the golden inputs as are affordable, spread over all of them."""
    golden = golden_of(bundle)
    one = take(golden.inputs, slice(0, 1))
    work = flops_per_row(eager.module, tuple(torch.from_numpy(one[spec.name]) for spec in bundle.manifest.inputs))
    rows = int(np.clip(_FLOPS // max(work, 1), _LEAST_ROWS, _MOST_ROWS))
    if not bundle.manifest.row_independent:
        rows = 1
    chosen = np.unique(np.linspace(0, golden.rows - 1, min(rows, golden.rows)).round().astype(np.int64))
    return take({spec.name: golden.inputs[spec.name] for spec in bundle.manifest.inputs}, chosen)


def pair_of(bundle: Bundle, entry: FileEntry, module: nn.Module, feeds: Mapping[str, NDArray[Any]]) -> Pair:
    """Read a graph, and pair it with the operations of the right module.

    Raises:
        BundleError: it cannot be loaded, or the module cannot be captured.
    """
    manifest = bundle.manifest
    if entry.format != "onnx":
        try:
            loaded = load_torchscript(bundle.read(entry))
        except RuntimeError as error:
            raise BundleError(
                f"{entry.path} cannot be loaded by torch {torch.__version__} ({first_line(error)}); export it again"
            ) from error
        return pair_trace(trace_reference(module, feeds), loaded, feeds, name=entry.path)
    try:
        reference = onnx_reference(module, feeds, inputs=manifest.inputs, outputs=manifest.outputs)
    except ExportError as error:
        raise BundleError(f"{bundle.path} cannot be followed operator by operator: {error}") from error
    return pair_onnx(
        reference,
        bundle.read(entry),
        feeds,
        name=entry.path,
        outputs=tuple(spec.name for spec in manifest.outputs),
        files=bundle.read_weights(entry),
    )


def served_outputs(bundle: Bundle, entry: FileEntry, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run an ONNX graph as it is served: rewritten by ONNX Runtime.

    Raises:
        BundleError: it is no such graph, or fails.
    """
    runner = OnnxRunner(
        bundle.read(entry),
        name=entry.path,
        inputs=bundle.manifest.inputs,
        outputs=bundle.manifest.outputs,
        provider="CPUExecutionProvider",
        weights=bundle.read_weights(entry),
    )
    try:
        return runner.run(feeds)
    except ORT_ERRORS as error:
        raise BundleError(f"{entry.path} fails on the golden inputs ({last_line(error)}); export it again") from error
