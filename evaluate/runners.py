"""Everything that can run a bundle's graphs, behind one seam: `serve.runner.Runner`."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from export.first_line import first_line
from export.module_runner import ModuleRunner
from export.to_exported_program import load_exported_program
from export.to_torchscript import load_torchscript
from serve.bundle import Bundle, BundleError, FileEntry, Precision
from serve.devices import Choice, Provider, ProviderError, choose_provider
from serve.onnx_runner import ORT_ERRORS, OnnxRunner
from serve.runner import Runner

# an exported program asserts what it was captured with
RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, torch.jit.Error, AssertionError)
_LOADERS: Mapping[str, Callable[[bytes], object]] = {
    "torchscript": load_torchscript,
    "exported-program": load_exported_program,
}
CASTS = "float16 on the CPU is computed in float32 between casts, so rounding is float16's and speed is not"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One graph on one provider.

    Attributes:
        graph: File name in the bundle.
        precision: What it computes in.
        provider: ONNX Runtime's exact name, or ``torch CPU``.
        size_bytes: Size of its file, and of those that hold its weights.
        optimized: Whether the provider may rewrite the graph first, as it does when serving.
        runner: Runs it, or None where it could not be loaded.
        fault: Why it could not be loaded, or None.
        note: What one should know of how it runs, or None.
    """

    graph: str
    precision: Precision
    provider: str
    size_bytes: int
    optimized: bool
    runner: Runner | None
    fault: str | None = None
    note: str | None = None


def eager_runner(module: nn.Module, bundle: Bundle) -> ModuleRunner:
    """Return a runner of an eager module with the bundle's names."""
    manifest = bundle.manifest
    return ModuleRunner(
        module,
        inputs=tuple(spec.name for spec in manifest.inputs),
        outputs=tuple(spec.name for spec in manifest.outputs),
    )


def weights_bytes(bundle: Bundle) -> int:
    """Return the size of the eager module's weights as a file."""
    entry = bundle.entry("state-dict")
    return entry.size_bytes if entry else 0


def candidates(
    bundle: Bundle,
    *,
    provider: Choice = "auto",
    threads: int | None = None,
    graphs: Collection[str] | None = None,
) -> list[Candidate]:
    """Load every graph of a bundle, as it is served, at once; see `all_candidates`."""
    return list(all_candidates(bundle, provider=provider, threads=threads, graphs=graphs))


def all_candidates(
    bundle: Bundle,
    *,
    provider: Choice = "auto",
    unoptimized: bool = False,
    threads: int | None = None,
    graphs: Collection[str] | None = None,
) -> Iterator[Candidate]:
    """Load every graph of a bundle on every provider that was asked for, one after the other.

    Args:
        bundle: A checked bundle.
        unoptimized: Also run ONNX graphs of full precision as they were written. A rewrite can hide what another
            version of ONNX Runtime would show: dropout that was left on, for one, is rewritten away.
        provider: ``auto`` runs ONNX on the CPU, and on CUDA where a device is there; ``cpu`` and ``cuda`` on that one.
        threads: Threads of a run of ONNX; all usable CPUs where it is None.
        graphs: File names of those that are loaded; None loads all.

    Raises:
        ProviderError: CUDA was asked for and there is none.
        BundleError: the bundle holds no graph.
    """
    providers = _provider_names(provider)
    entries = [entry for entry in bundle.manifest.files if entry.format == "onnx" or entry.format in _LOADERS]
    if not entries:
        raise BundleError(f"{bundle.path} holds no graph, so there is nothing to judge; export it with --formats onnx")
    for entry in entries:
        if graphs is not None and entry.path not in graphs:
            continue
        if entry.format != "onnx":
            yield _torch(bundle, entry, _LOADERS[entry.format])
            continue
        ways = (True, False) if unoptimized and entry.precision in {None, "float32"} else (True,)
        for name in providers:
            for optimized in ways:
                yield _onnx(bundle, entry, name, optimized=optimized, threads=threads)


def _provider_names(choice: Choice) -> list[Provider]:
    chosen, _ = choose_provider(choice)
    return [chosen] if choice != "auto" or chosen == "CPUExecutionProvider" else ["CPUExecutionProvider", chosen]


def _onnx(
    bundle: Bundle, entry: FileEntry, provider: Provider, *, optimized: bool, threads: int | None = None
) -> Candidate:
    manifest = bundle.manifest
    runner, fault = None, None
    weights = bundle.read_weights(entry)
    try:
        runner = OnnxRunner(
            bundle.read(entry),
            name=entry.path,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            provider=provider,
            threads=threads,
            optimized=optimized,
            weights=weights,
        )
    except (BundleError, ProviderError) as error:
        fault = str(error)
    return Candidate(
        graph=entry.path,
        precision=entry.precision or "float32",
        provider=provider,
        size_bytes=entry.size_bytes + sum(map(len, weights.values())),
        optimized=optimized,
        runner=runner,
        fault=fault,
        note=CASTS if entry.precision == "float16" and provider == "CPUExecutionProvider" else None,
    )


def _torch(bundle: Bundle, entry: FileEntry, load: Callable[[bytes], object]) -> Candidate:
    runner, fault = None, None
    try:
        runner = eager_runner(cast(nn.Module, load(bundle.read(entry))), bundle)
    except BundleError:
        raise
    except Exception as error:  # noqa: BLE001 - of damaged bytes, torch's readers raise whatever their parts do
        fault = f"{entry.path} cannot be loaded by torch {torch.__version__} ({first_line(error)}); export it again"
    return Candidate(
        graph=entry.path,
        precision=entry.precision or "float32",
        provider="torch CPU",
        size_bytes=entry.size_bytes,
        optimized=True,
        runner=runner,
        fault=fault,
    )
