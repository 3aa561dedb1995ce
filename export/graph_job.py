"""What a format is given, to write its graph from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from serve.bundle import TensorSpec


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
    """

    name: str
    labels: tuple[str, ...]
    module: nn.Module
    examples: tuple[Tensor, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    calibration: Mapping[str, NDArray[Any]]
    folder: Path
