"""What a format is given, to write its graph from, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from serve.bundle import Format, Precision, TensorSpec

INLINE_BYTES = 1_900_000_000
"""Most bytes of weights inside an ONNX file: protobuf ends at 2 GiB, and the graph itself needs room."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphJob:
    """One module to be written into one folder, in whatever format.

    Attributes:
        name: What the model is called when it is served.
        labels: Names of its classes.
        module: In evaluation mode; takes one tensor per input, returns one per output.
        examples: One batch of each input, of at least two rows.
        inputs: Names, dtypes and shapes that the graph must have.
        outputs: The same for its outputs.
        calibration: Training rows by input name, for formats that measure ranges; empty where there are none.
        folder: Where the files go; what earlier formats wrote is there already.
        opset: ONNX operator set that the graph must have; the exporter's own where it is None.
        inline_bytes: Most bytes of weights inside an ONNX file; more of them go into a file beside it.
        on_start: Called with what is being done, in words, by formats that take long.
    """

    name: str
    labels: tuple[str, ...]
    module: nn.Module
    examples: tuple[Tensor, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    calibration: Mapping[str, NDArray[Any]]
    folder: Path
    opset: int | None = None
    inline_bytes: int = INLINE_BYTES
    on_start: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFile:
    """One file that a format wrote.

    Attributes:
        path: Within the job's folder, with ``/`` between names.
        format: How the manifest calls it.
        precision: What its graph computes in, or None where it is no graph.
        note: What was measured when it was made, for people.
    """

    path: str
    format: Format
    precision: Precision | None = None
    note: str = ""
