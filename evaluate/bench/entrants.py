"""Who takes part: eager, compiled, and every graph of the bundle on every provider."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from torch import nn

from evaluate.bench.compiled import compiled
from evaluate.bench.result import COMPILED
from evaluate.runners import candidates, eager_runner, weights_bytes
from serve.bundle import Bundle, BundleError, Precision
from serve.devices import Choice
from serve.runner import Runner

EAGER = "eager"
TORCH = "torch CPU"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entrant:
    """One runner.

    Attributes:
        name: File name, ``eager`` or ``torch.compile``.
        provider: ONNX Runtime's exact name, or ``torch CPU``.
        precision: What it computes in.
        size_bytes: Size of its file; of eager, of its weights.
        runner: Runs it.
    """

    name: str
    provider: str
    precision: Precision
    size_bytes: int
    runner: Runner

    @property
    def on_cuda(self) -> bool:
        """Return whether it runs on an NVIDIA device."""
        return self.provider == "CUDAExecutionProvider"

    @property
    def label(self) -> str:
        """Return what people call it."""
        return f"{self.name} CUDA" if self.on_cuda else self.name


def eager_entrant(bundle: Bundle, module: nn.Module) -> Entrant:
    """Return the eager module as it takes part; it is the yardstick, and so the first."""
    return Entrant(
        name=EAGER,
        provider=TORCH,
        precision="float32",
        size_bytes=weights_bytes(bundle),
        runner=eager_runner(module, bundle),
    )


def compiled_entrant(bundle: Bundle, module: nn.Module) -> Entrant:
    """Return the same module, to be compiled on its first run."""
    return replace(eager_entrant(bundle, module), name=COMPILED, runner=eager_runner(compiled(module), bundle))


def graph_entrants(
    bundle: Bundle, *, provider: Choice, threads: int, graphs: Collection[str] | None = None
) -> Sequence[Entrant]:
    """Load every graph of a bundle.

    Args:
        bundle: A checked bundle.
        provider: What ONNX runs on.
        threads: Threads of a run of ONNX on the CPU.
        graphs: File names of those that are loaded; None loads all.

    Raises:
        BundleError: one cannot be loaded.
    """
    entrants = []
    for candidate in candidates(bundle, provider=provider, threads=threads, graphs=graphs):
        if candidate.runner is None:
            raise BundleError(f"{candidate.graph} cannot be run: {candidate.fault}")
        entrants.append(
            Entrant(
                name=candidate.graph,
                provider=candidate.provider,
                precision=candidate.precision,
                size_bytes=candidate.size_bytes,
                runner=candidate.runner,
            )
        )
    return entrants
