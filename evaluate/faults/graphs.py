"""Graphs of a module as candidates for the judge: one export per architecture, with the weights exchanged."""

import copy
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from evaluate.faults.subjects import Subject, runner_of
from evaluate.reference_graph import DoubleRunner, ReferenceRunner, ReferenceRunners
from evaluate.runners import Candidate
from export.quiet import quiet
from export.to_onnx import export_onnx
from serve.bundle import BundleError
from serve.onnx_runner import OnnxRunner
from serve.runner import Runner

ONNX = "graph.onnx"
TORCHSCRIPT = "graph.torchscript.pt"
_EXAMPLE_ROWS = 2
_MATRIX = 2


def example_of(samples: dict[str, NDArray[Any]]) -> tuple[Tensor, ...]:
    """Return the batch that a module is exported with."""
    return tuple(torch.from_numpy(np.ascontiguousarray(values[:_EXAMPLE_ROWS])) for values in samples.values())


def write_onnx_model(module: nn.Module, subject: Subject, samples: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    """Export a module as a bundle's would be, and read the graph back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ONNX
        export_onnx(module, example_of(samples), path, inputs=subject.inputs, outputs=subject.outputs)
        return onnx.load(path)


class GraphMaker:
    """Makes the ONNX graph of an architecture with any weights: exported once, then with the weights exchanged.

    The exporter turns some matrices around, under names of its own, which are found by their values. Where it merges
    weights into others, as those of batch normalisation, nothing can be exchanged, and each module is exported.

    Args:
        module: With some weights.
        subject: Its architecture.
        samples: Its inputs.
    """

    def __init__(self, module: nn.Module, subject: Subject, samples: dict[str, NDArray[Any]]) -> None:
        self._subject = subject
        self._samples = samples
        self._model = write_onnx_model(module, subject, samples)
        self._places = _places(self._model, module.state_dict())

    @property
    def exchanges(self) -> bool:
        """Whether weights can be exchanged, so that nothing need be exported again."""
        return self._places is not None

    def make(self, module: nn.Module, state: dict[str, Tensor] | None = None) -> onnx.ModelProto:
        """Return the graph of a module, with a state dict in place of its own where one is given."""
        state = module.state_dict() if state is None else state
        if self._places is None:
            own = copy.deepcopy(module)
            own.load_state_dict(state)
            return write_onnx_model(own, self._subject, self._samples)
        copied = onnx.ModelProto()
        copied.CopyFrom(self._model)
        for tensor in copied.graph.initializer:
            if tensor.name in self._places:
                name, turned = self._places[tensor.name]
                values = state[name].detach().numpy()
                tensor.CopyFrom(
                    numpy_helper.from_array(np.ascontiguousarray(values.T if turned else values), tensor.name)
                )
        return copied


def _places(model: onnx.ModelProto, state: dict[str, Tensor]) -> dict[str, tuple[str, bool]] | None:
    """Return which tensor of a module each one of a graph is, and whether it is turned around; None if not all are."""
    weights = {
        name: tensor.numpy() for name, tensor in state.items() if tensor.is_floating_point() and tensor.numel() > 1
    }
    found: dict[str, tuple[str, bool]] = {}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in state:
            if values.shape == tuple(state[tensor.name].shape) and np.array_equal(values, state[tensor.name].numpy()):
                found[tensor.name] = (tensor.name, False)
            continue
        for name, own in weights.items():
            if own.ndim == _MATRIX and values.shape == own.shape[::-1] and np.array_equal(values, own.T):
                found[tensor.name] = (name, True)
    missing = weights.keys() - {name for name, _ in found.values()}
    return None if any(not name.startswith("input_module.") for name in missing) else found


def onnx_candidate(
    model: onnx.ModelProto, subject: Subject, *, optimized: bool = True, threads: int | None = None, note: str = ""
) -> Candidate:
    """Make an ONNX graph a candidate; one that cannot be loaded carries the reason, as in the certificate."""
    content = model.SerializeToString()
    runner, fault = None, None
    try:
        runner = OnnxRunner(
            content,
            name=ONNX,
            inputs=subject.inputs,
            outputs=subject.outputs,
            provider="CPUExecutionProvider",
            optimized=optimized,
            threads=threads,
        )
    except BundleError as error:
        fault = str(error)
    candidate = _candidate(ONNX, runner, fault=fault, provider="CPUExecutionProvider", optimized=optimized, note=note)
    references = ReferenceRunners(
        float32=cache(lambda: ReferenceRunner(model)), float64=cache(lambda: DoubleRunner(model))
    )
    return replace(candidate, references=references)


def onnx_candidates(model: onnx.ModelProto, subject: Subject) -> list[Candidate]:
    """Make an ONNX graph the two candidates that a full certificate makes of it: as it is served, and as written."""
    return [onnx_candidate(model, subject, optimized=optimized, threads=1) for optimized in (True, False)]


def trace(module: nn.Module, samples: dict[str, NDArray[Any]]) -> torch.jit.ScriptModule:
    """Trace a module. The exporter's own checks are left out: what the judge alone sees is the question here."""
    with quiet(), torch.no_grad():
        traced: torch.jit.ScriptModule = torch.jit.trace(module, example_of(samples), check_trace=False)  # type: ignore[no-untyped-call]
    return traced


def module_candidate(module: nn.Module, subject: Subject, *, graph: str = TORCHSCRIPT, note: str = "") -> Candidate:
    """Make a module of torch, eager or not, a candidate."""
    return _candidate(graph, runner_of(module, subject), provider="torch CPU", note=note)


def runner_candidate(runner: Runner, *, graph: str, note: str = "") -> Candidate:
    """Make anything that runs batches a candidate."""
    return _candidate(graph, runner, provider="torch CPU", note=note)


def _candidate(
    graph: str,
    runner: Runner | None,
    *,
    provider: str,
    fault: str | None = None,
    optimized: bool = True,
    note: str = "",
) -> Candidate:
    return Candidate(
        graph=graph,
        precision="float32",
        provider=provider,
        size_bytes=0,
        optimized=optimized,
        runner=runner,
        fault=fault,
        note=note or None,
    )
