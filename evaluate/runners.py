"""Everything that can run a bundle's graphs, behind one seam: `serve.runner.Runner`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.to_torchscript import load_torchscript
from serve.bundle import Bundle, BundleError, FileEntry, Precision
from serve.devices import Choice, Provider, ProviderError, choose_provider
from serve.onnx_runner import ORT_ERRORS, OnnxRunner
from serve.runner import Runner

RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, torch.jit.Error)


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One graph on one provider.

    Attributes:
        graph: File name in the bundle.
        precision: What it computes in.
        provider: ONNX Runtime's exact name, or ``torch CPU``.
        optimized: Whether the provider may rewrite the graph first, as it does when serving.
        runner: Runs it, or None where it could not be loaded.
        fault: Why it could not be loaded, or None.
    """

    graph: str
    precision: Precision
    provider: str
    optimized: bool
    runner: Runner | None
    fault: str | None = None


def eager_runner(module: nn.Module, bundle: Bundle) -> ModuleRunner:
    """Return a runner of an eager module with the bundle's names."""
    manifest = bundle.manifest
    return ModuleRunner(
        module,
        inputs=tuple(spec.name for spec in manifest.inputs),
        outputs=tuple(spec.name for spec in manifest.outputs),
    )


def candidates(bundle: Bundle, *, provider: Choice = "auto", unoptimized: bool = False) -> list[Candidate]:
    """Load every graph of a bundle on every provider that was asked for.

    Args:
        bundle: A checked bundle.
        unoptimized: Also run ONNX graphs as they were written. A rewrite can hide what another version of ONNX Runtime
            would show: dropout that was left on, for one, is rewritten away.
        provider: ``auto`` runs ONNX on the CPU, and on CUDA where a device is there; ``cpu`` and ``cuda`` on that one.

    Raises:
        ProviderError: CUDA was asked for and there is none.
        BundleError: the bundle holds no graph.
    """
    found: list[Candidate] = []
    for entry in bundle.manifest.files:
        if entry.format == "onnx":
            found.extend(
                _onnx(bundle, entry, name, optimized=optimized)
                for name in _provider_names(provider)
                for optimized in ((True, False) if unoptimized else (True,))
            )
        elif entry.format == "torchscript":
            found.append(_torchscript(bundle, entry))
    if not found:
        raise BundleError(f"{bundle.path} holds no graph, so there is nothing to judge; export it with --formats onnx")
    return found


def _provider_names(choice: Choice) -> list[Provider]:
    chosen, _ = choose_provider(choice)
    return [chosen] if choice != "auto" or chosen == "CPUExecutionProvider" else ["CPUExecutionProvider", chosen]


def _onnx(bundle: Bundle, entry: FileEntry, provider: Provider, *, optimized: bool) -> Candidate:
    manifest = bundle.manifest
    runner, fault = None, None
    try:
        runner = OnnxRunner(
            bundle.read(entry),
            name=entry.path,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            provider=provider,
            optimized=optimized,
        )
    except (BundleError, ProviderError) as error:
        fault = str(error)
    return Candidate(
        graph=entry.path,
        precision=entry.precision or "float32",
        provider=provider,
        optimized=optimized,
        runner=runner,
        fault=fault,
    )


def _torchscript(bundle: Bundle, entry: FileEntry) -> Candidate:
    runner, fault = None, None
    try:
        runner = eager_runner(load_torchscript(bundle.read(entry)), bundle)
    except RuntimeError as error:
        fault = f"{entry.path} cannot be loaded by torch {torch.__version__} ({error}); export it again"
    return Candidate(
        graph=entry.path,
        precision=entry.precision or "float32",
        provider="torch CPU",
        optimized=True,
        runner=runner,
        fault=fault,
    )


def run_batches(runner: Runner, inputs: Mapping[str, NDArray[Any]], *, batch_size: int) -> dict[str, NDArray[Any]]:
    """Run any number of rows, ``batch_size`` at a time, and return the outputs of all of them.

    Args:
        runner: What runs a batch.
        inputs: Arrays by name, ``(rows, …)``, at least one row.
        batch_size: Rows of one run; the last one may be shorter.
    """
    rows = len(next(iter(inputs.values())))
    chunks = [
        runner.run({name: values[start : start + batch_size] for name, values in inputs.items()})
        for start in range(0, rows, batch_size)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
