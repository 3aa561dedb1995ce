"""Correct variants of a module: other runtimes, threads, batches and rewrites that compute the same function."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.faults.graphs import (
    GraphMaker,
    module_candidate,
    onnx_candidate,
    runner_candidate,
    trace,
)
from evaluate.faults.subjects import Subject, runner_of
from evaluate.runners import Candidate
from export.module_runner import ModuleRunner, run_batches
from export.quiet import quiet
from serve.devices import usable_cpus

Make = Callable[[], Candidate | None]
WINOGRAD = "eager, Winograd's convolutions"
_ODD_BATCH = 5


class OtherBatches:
    """Runs rows in other batches than it is given."""

    def __init__(self, runner: ModuleRunner, rows: int) -> None:
        self._runner = runner
        self._rows = rows

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        return run_batches(self._runner, inputs, batch_size=self._rows)


class AllThreads:
    """Runs a module on all threads."""

    def __init__(self, runner: ModuleRunner) -> None:
        self._runner = runner

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        before = torch.get_num_threads()
        torch.set_num_threads(usable_cpus())
        try:
            return self._runner.run(inputs)
        finally:
            torch.set_num_threads(before)


class PlainKernels:
    """Runs a module without oneDNN; with NNPACK, 3x3 convolutions of larger batches are Winograd's."""

    def __init__(self, runner: ModuleRunner, *, winograd: bool) -> None:
        self._runner = runner
        self._winograd = winograd

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        with quiet(), torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=self._winograd):
            return self._runner.run(inputs)


class OwnSession:
    """Runs an ONNX graph with a level of optimisation that nobody serves with."""

    def __init__(self, model: onnx.ModelProto, outputs: tuple[str, ...]) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self._outputs = outputs

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        return dict(zip(self._outputs, self._session.run(list(self._outputs), dict(inputs)), strict=True))


def variants(
    module: nn.Module, subject: Subject, samples: dict[str, NDArray[Any]], maker: GraphMaker, *, costly: bool
) -> dict[str, Make]:
    """Return how to make each correct variant of a module, by name; those that take a second only where `costly`."""
    model = maker.make(module)
    runner = runner_of(module, subject)
    names = tuple(spec.name for spec in subject.outputs)
    found: dict[str, Make] = {
        "ONNX, optimised": lambda: onnx_candidate(model, subject),
        "ONNX, as written": lambda: onnx_candidate(model, subject, optimized=False),
        "ONNX, one thread": lambda: onnx_candidate(model, subject, threads=1),
        "ONNX, constants folded": lambda: runner_candidate(OwnSession(model, names), graph="graph.onnx"),
        "TorchScript": lambda: module_candidate(trace(module, samples), subject),
        "TorchScript, frozen": lambda: module_candidate(_frozen(module, samples), subject),
        "eager, batches of 5": lambda: runner_candidate(OtherBatches(runner, _ODD_BATCH), graph="eager"),
        "eager, row by row": lambda: runner_candidate(OtherBatches(runner, 1), graph="eager"),
        "eager, all threads": lambda: runner_candidate(AllThreads(runner), graph="eager"),
        "eager, plain kernels": lambda: runner_candidate(PlainKernels(runner, winograd=False), graph="eager"),
        "eager, channels last": lambda: _channels_last(module, subject),
    }
    if any(isinstance(part, nn.Conv2d) for part in module.modules()):
        found[WINOGRAD] = lambda: runner_candidate(PlainKernels(runner, winograd=True), graph="eager")
    if costly:
        found["exported program"] = lambda: module_candidate(_program(module, samples), subject, graph="graph.pt2")
    return found


def _frozen(module: nn.Module, samples: dict[str, NDArray[Any]]) -> nn.Module:
    with quiet():
        frozen: nn.Module = torch.jit.freeze(trace(module, samples))
    return frozen


def _program(module: nn.Module, samples: dict[str, NDArray[Any]]) -> nn.Module:
    with quiet():
        examples = tuple(torch.from_numpy(values[:2]) for values in samples.values())
        program = torch.export.export(module, examples, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False)
        captured: nn.Module = program.module()
    return captured


def _channels_last(module: nn.Module, subject: Subject) -> Candidate | None:
    if not any(isinstance(part, nn.Conv2d) for part in module.modules()):
        return None
    turned: nn.Module = copy.deepcopy(module).to(memory_format=torch.channels_last)
    return module_candidate(turned, subject, graph="eager")
