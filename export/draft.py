"""Everything that a bundle is made of, before it is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from serve.bundle import Feature, ImagePreprocessing, Provenance, Task, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draft:
    """Everything that a bundle is made of, before it is written.

    Attributes:
        name: What the model is called when it is served.
        title: One line for people.
        module: The deployable module, in evaluation mode: one tensor per input in, one per output out.
        weights: The network's state_dict.
        inputs: Names, dtypes and shapes of what the module takes.
        outputs: The same for what it returns, in order.
        golden_inputs: Rows of each input that the bundle proves itself with, ``(batch, …)``.
        golden_class_index: Their true classes, ``(batch,)``, -1 where there is none.
        golden_kind: Where each row comes from, ``(batch,)``.
        calibration: Rows of the training data by input, for formats that measure ranges; empty where there are none.
        build: Builds the network anew, before its weights are loaded; None where nothing can.
    """

    name: str
    title: str
    task: Task
    labels: tuple[str, ...]
    module: nn.Module
    weights: Mapping[str, Tensor]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: ImagePreprocessing | None
    features: tuple[Feature, ...]
    provenance: Provenance
    golden_inputs: Mapping[str, NDArray[Any]]
    golden_class_index: NDArray[np.int64]
    golden_kind: NDArray[np.str_]
    calibration: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    build: Callable[[], nn.Module] | None = None
