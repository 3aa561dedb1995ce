"""The ONNX operator set that graphs are asked to have: whether it can be, before anything is done; whether it was."""

import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
import torch
from onnx import TensorProto, helper

from export.errors import ExportError
from serve.onnx_runner import ORT_ERRORS

_FATAL = 4


def check_opset(opset: int | None, formats: tuple[str, ...]) -> None:
    """Check that an operator set means something here, and that ONNX Runtime knows it.

    Raises:
        ExportError: it does not.
    """
    if opset is None:
        return
    if "onnx" not in formats:
        raise ExportError(
            f"--opset {opset} is of ONNX, but --formats {' '.join(formats)} writes no graph.onnx; leave it out"
        )
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", values[:1], values[1:])
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    try:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ExportError(
            f"opset {opset} was asked for, but ONNX Runtime {ort.__version__} runs no graph in it; "
            "ask for a lower one, 18 say, or for none"
        ) from error


def graph_opset(model: onnx.ModelProto) -> int:
    """Return the operator set that a graph was written in."""
    version: int = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    return version


def check_same_opset(model: onnx.ModelProto, opset: int | None) -> None:
    """Check that the exporter did as asked: it changes what it cannot write, and says so in a log at most.

    Raises:
        ExportError: it did not.
    """
    found = graph_opset(model)
    if opset not in (None, found):
        raise ExportError(
            f"opset {opset} was asked for, but torch {torch.__version__} writes this model in opset {found}; "
            f"ask for {found}, or for none"
        )
