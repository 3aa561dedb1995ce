"""Everything that can run a bundle's graphs, behind one seam: `serve.runner.Runner`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import cast

import onnx
import torch
from torch import nn

from evaluate.chance import drawn_at_random, state_digest
from evaluate.reference_graph import DoubleRunner, ReferenceRunner, ReferenceRunners
from evaluate.torch_threads import OnThreads
from evaluate.ways import AS_SERVED, Way, graph_files
from export.first_line import first_line
from export.module_runner import ModuleRunner
from export.to_exported_program import load_exported_program
from export.to_torchscript import load_torchscript
from serve.bundle import Bundle, BundleError, FileEntry, Precision
from serve.devices import Choice, Provider, ProviderError, choose_provider, usable_cpus
from serve.onnx_runner import ORT_ERRORS, OnnxRunner
from serve.runner import Runner

# an exported program asserts what it was captured with
RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, torch.jit.Error, AssertionError)
_LOADERS: Mapping[str, Callable[[bytes], object]] = {
    "torchscript": load_torchscript,
    "exported-program": load_exported_program,
}
_LARGE_BYTES = 64 << 20  # of a graph that is loaded twice more, in float64 as well
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
        threads: Threads of one run; None where nobody counted them.
        way: The way it runs in; where two come to the same on this machine, the first.
        state: Returns a digest of what it keeps; None where it keeps nothing.
        references: Run the same graph with other arithmetic, however slowly; None where nothing does.
    """

    graph: str
    precision: Precision
    provider: str
    size_bytes: int
    optimized: bool
    runner: Runner | None
    fault: str | None = None
    note: str | None = None
    threads: int | None = None
    way: Way = AS_SERVED
    references: ReferenceRunners | None = None
    state: Callable[[], str] | None = None


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
    ways: Sequence[Way] = (AS_SERVED,),
    threads: int | None = None,
    graphs: Collection[str] | None = None,
    second_opinion: bool = False,
) -> Iterator[Candidate]:
    """Load every graph of a bundle on every provider that was asked for, one after the other.

    Args:
        bundle: A checked bundle.
        provider: ``auto`` runs ONNX on the CPU, and on CUDA where a device is there; ``cpu`` and ``cuda`` on that one.
        ways: How graphs of full precision are run on the CPU, in turn; others are run in the first way alone. A rewrite
            can hide what another version of ONNX Runtime would show: dropout that was left on, for one, is rewritten
            away. And another number of threads sums in another order.
        threads: Threads of a run of ONNX where a way does not say; all usable CPUs where it is None. Torch has its own.
        graphs: File names of those that are loaded; None loads all.
        second_opinion: Whether ONNX's reference implementation may be asked about graphs of full precision.

    Raises:
        ProviderError: CUDA was asked for and there is none.
        BundleError: the bundle holds no graph.
    """
    providers = _provider_names(provider)
    entries = graph_files(bundle)
    if not entries:
        raise BundleError(f"{bundle.path} holds no graph, so there is nothing to judge; export it with --formats onnx")
    for entry in entries:
        if graphs is not None and entry.path not in graphs:
            continue
        if entry.format != "onnx":
            yield from _torch(bundle, entry, _LOADERS[entry.format], ways)
            continue
        references = _references(bundle, entry) if second_opinion else None
        drawn = drawn_at_random(bundle.read(entry))
        for name in providers:
            full = entry.precision in {None, "float32"}
            usual, cpu = threads or usable_cpus(), name == "CPUExecutionProvider"
            own: dict[tuple[bool, int], Way] = {}
            for way in ways if full else ways[:1]:
                own.setdefault((way.optimized, (way.threads if cpu else None) or usual), way)
            for (_, count), way in own.items():
                yield _onnx(bundle, entry, name, way=way, threads=count, references=references, wrong=drawn)


def _references(bundle: Bundle, entry: FileEntry) -> ReferenceRunners | None:
    if entry.size_bytes > _LARGE_BYTES or bundle.weights_files(entry):
        return None

    def load() -> onnx.ModelProto:
        return onnx.load_from_string(bundle.read(entry))

    return ReferenceRunners(float32=cache(lambda: ReferenceRunner(load())), float64=cache(lambda: DoubleRunner(load())))


def _provider_names(choice: Choice) -> list[Provider]:
    chosen, _ = choose_provider(choice)
    return [chosen] if choice != "auto" or chosen == "CPUExecutionProvider" else ["CPUExecutionProvider", chosen]


def _onnx(
    bundle: Bundle,
    entry: FileEntry,
    provider: Provider,
    *,
    way: Way,
    threads: int,
    references: ReferenceRunners | None,
    wrong: str | None,
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
            optimized=way.optimized,
            weights=weights,
        )
    except (BundleError, ProviderError) as error:
        fault = str(error)
    return Candidate(
        graph=entry.path,
        precision=entry.precision or "float32",
        provider=provider,
        size_bytes=entry.size_bytes + sum(map(len, weights.values())),
        optimized=way.optimized,
        threads=threads,
        way=way,
        runner=runner if wrong is None else None,
        fault=wrong or fault,
        note=CASTS if entry.precision == "float16" and provider == "CPUExecutionProvider" else None,
        references=references,
    )


def _torch(
    bundle: Bundle, entry: FileEntry, load: Callable[[bytes], object], ways: Sequence[Way]
) -> Iterator[Candidate]:
    """Load a graph of torch once, and let it run with each number of threads; it is never rewritten."""
    runner, fault, state = None, None, None
    content = bundle.read(entry)
    try:
        module = cast(nn.Module, load(content))
        runner, state = eager_runner(module, bundle), partial(state_digest, module)
    except Exception as error:  # noqa: BLE001 - of damaged bytes, torch's readers raise whatever their parts do
        fault = f"{entry.path} cannot be loaded by torch {torch.__version__} ({first_line(error)}); export it again"
    usual = torch.get_num_threads()
    own: dict[int, Way] = {}
    for way in ways if runner else ways[:1]:
        own.setdefault(way.threads or usual, way)
    for count, way in own.items():
        yield Candidate(
            graph=entry.path,
            precision=entry.precision or "float32",
            provider="torch CPU",
            size_bytes=entry.size_bytes,
            optimized=True,
            threads=count,
            way=way,
            runner=OnThreads(runner, count) if runner and count != usual else runner,
            fault=fault,
            state=state,
        )
