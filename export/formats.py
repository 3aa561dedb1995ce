"""Every format an export can write. A new one is a module and a line here."""

from collections.abc import Callable

from export.graph_job import GraphFile, GraphJob
from export.to_exported_program import write_exported_program
from export.to_fp16 import write_fp16
from export.to_int8 import write_int8
from export.to_onnx import write_onnx
from export.to_torchscript import write_torchscript
from export.to_triton import write_triton

Writer = Callable[[GraphJob], tuple[GraphFile, ...]]
"""Writes the files of one format, checks what it wrote, and returns them; raises ExportError."""

# in the order in which they are written: those below may start from what those above wrote
FORMATS: dict[str, Writer] = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
    "exported-program": write_exported_program,
    "onnx-fp16": write_fp16,
    "onnx-int8": write_int8,
    "triton": write_triton,
}

DEFAULT_FORMATS = ("onnx", "torchscript")
