"""Every format an export can write. A new one is a module and a line here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from export.to_onnx import export_onnx
from export.to_torchscript import export_torchscript
from serve.bundle import Format, Precision, TensorSpec


class WriteGraph(Protocol):
    """Writes one graph file from an eager module, and checks what it wrote."""

    def __call__(
        self,
        module: nn.Module,
        example: Tensor,
        path: Path,
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> None:
        """Write the file, or raise ExportError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFormat:
    """One kind of graph file in a bundle."""

    path: str
    format: Format
    precision: Precision
    write: WriteGraph


FORMATS: dict[str, GraphFormat] = {
    "onnx": GraphFormat(path="graph.onnx", format="onnx", precision="float32", write=export_onnx),
    "torchscript": GraphFormat(
        path="graph.torchscript.pt", format="torchscript", precision="float32", write=export_torchscript
    ),
}
