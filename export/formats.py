"""Every format an export can write. A new one is a module and a line here."""

from collections.abc import Callable
from dataclasses import dataclass

from export.graph_job import GraphJob
from export.to_onnx import write_onnx
from export.to_torchscript import write_torchscript
from serve.bundle import Format, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFormat:
    """One kind of graph in a bundle.

    Attributes:
        format: How the manifest calls its files.
        precision: What the graph computes in.
        write: Writes it, checks what it wrote, and returns the paths within the folder; raises ExportError.
    """

    format: Format
    precision: Precision
    write: Callable[[GraphJob], tuple[str, ...]]


# in the order in which they are written: those below may start from what those above wrote
FORMATS: dict[str, GraphFormat] = {
    "onnx": GraphFormat(format="onnx", precision="float32", write=write_onnx),
    "torchscript": GraphFormat(format="torchscript", precision="float32", write=write_torchscript),
}
