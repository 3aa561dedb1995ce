"""Running an eager or TorchScript module batch by batch, behind the seam that ONNX Runtime has, too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from serve.runner import Runner


class ModuleRunner:
    """Runs a torch module, eager or TorchScript, on the CPU."""

    def __init__(self, module: nn.Module, *, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        self._module = module
        self._inputs = inputs
        self._outputs = outputs

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        with torch.inference_mode():
            results = self._module(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._inputs))
        return {name: result.numpy() for name, result in zip(self._outputs, results, strict=True)}


def run_batches(
    runner: Runner, inputs: Mapping[str, NDArray[Any]], *, batch_size: int, sizes: Sequence[int] = ()
) -> dict[str, NDArray[Any]]:
    """Run any number of rows, ``batch_size`` at a time, and return the outputs of all of them.

    Args:
        runner: What runs a batch.
        inputs: Arrays by name, ``(rows, …)``, at least one row.
        batch_size: Rows of one run; the last one may be shorter.
        sizes: Rows of each run, where they differ; together, all rows.
    """
    rows = len(next(iter(inputs.values())))
    starts = list(range(0, rows, batch_size)) if not sizes else [sum(sizes[:index]) for index in range(len(sizes))]
    chunks = [
        runner.run({name: values[start:end] for name, values in inputs.items()})
        for start, end in zip(starts, [*starts[1:], rows], strict=True)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
