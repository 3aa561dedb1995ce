"""Everything that can run a bundle's graphs, behind one seam: `serve.runner.Runner`."""

from dataclasses import dataclass

import torch
from torch import nn

from export.module_runner import ModuleRunner
from export.to_torchscript import load_torchscript
from serve.bundle import Bundle, BundleError, FileEntry, Precision
from serve.devices import Choice, Provider, ProviderError, choose_provider
from serve.onnx_runner import ORT_ERRORS, OnnxRunner
from serve.runner import Runner

RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, torch.jit.Error)


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
