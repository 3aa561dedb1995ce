"""Every format an export can write. A new one is a module and a line here."""

from collections.abc import Callable

from export.graph_job import GraphFile, GraphJob
from export.to_onnx import write_onnx
from export.to_torchscript import write_torchscript

Writer = Callable[[GraphJob], tuple[GraphFile, ...]]
"""Writes the files of one format, checks what it wrote, and returns them; raises ExportError."""

# in the order in which they are written: those below may start from what those above wrote
FORMATS: dict[str, Writer] = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
}

DEFAULT_FORMATS = ("onnx", "torchscript")
