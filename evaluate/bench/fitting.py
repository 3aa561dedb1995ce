"""Which batches fit into memory, all runners held at once, and what each runner alone takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from evaluate.bench.entrants import Entrant
from evaluate.bench.memory import free_bytes
from evaluate.bench.own_process import Probed, probe
from evaluate.bench.probe import Job, climb, ladder
from evaluate.bench.result import RunnerCost
from evaluate.runners import RUN_ERRORS
from export.first_line import last_line

_SHARE = 0.8  # of what is free: other processes live, too
_GIB = 2**30
_ERRORS: tuple[type[BaseException], ...] = (*RUN_ERRORS, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Which batch sizes are run.

    Attributes:
        sizes: Those that fit, ascending.
        left_out: A sentence for each that does not.
    """

    sizes: tuple[int, ...]
    left_out: tuple[str, ...]


def usable_bytes(free: int | None = None) -> int | None:
    """Return how much memory may be taken, or None where nobody knows."""
    free = free_bytes() if free is None else free
    return None if free is None else int(_SHARE * free)


def look_at(
    entrant: Entrant, job: Job, inputs: Mapping[str, NDArray[Any]], *, alone: bool, compiles: bool = False
) -> Probed:
    """Run ever greater batches of a runner, in a process of its own or in this one.

    Args:
        entrant: The runner.
        job: The same, for another process.
        inputs: Rows to fill batches with.
        alone: Whether it is to have a process of its own.
        compiles: Whether its first runs compile.
    """
    if alone:
        return probe(job, compiles=compiles)
    rungs, fault = [], None
    try:
        rows = ladder(job.batch_sizes)
        for rung in climb(entrant.runner, inputs, rows, free=job.free_bytes, most_s=job.most_s):
            rungs.append(rung)  # noqa: PERF402 - those before a fault are kept
    except _ERRORS as error:
        fault = last_line(error)
    return Probed(start_s=None, rungs=tuple(rungs), fault=fault)


def fit(sizes: Sequence[int], probed: Sequence[Probed], *, free: int | None) -> Fitting:
    """Keep the batch sizes at which all runners together fit: what ONNX Runtime took once, it keeps.

    Args:
        sizes: Batch sizes asked for, ascending.
        probed: What each runner took, or would take, alone.
        free: How much memory may be taken.
    """
    kept: list[int] = []
    for index, size in enumerate(sizes):
        needs = sum(_growth(one, size) for one in probed)
        if free is not None and needs > free:
            shown = ", ".join(map(str, sizes[index:]))
            return Fitting(
                sizes=tuple(kept),
                left_out=(
                    f"batch {shown} is left out: {needs / _GIB:.2f} GiB or more would be needed at {size}, but only "
                    f"{free / _GIB:.2f} GiB may be taken; give smaller --batch-sizes, or free memory",
                ),
            )
        kept.append(size)
    return Fitting(sizes=tuple(kept), left_out=())


def cost_of(entrant: Entrant, probed: Probed, *, alone: bool, compiles: bool = False) -> RunnerCost:
    """Sum up what a runner costs."""
    highest = probed.highest
    return RunnerCost(
        runner=entrant.name,
        provider=entrant.provider,
        size_bytes=entrant.size_bytes,
        start_s=probed.start_s,
        compile_s=probed.compile_s if compiles else None,
        peak_bytes=highest.peak_bytes if highest is not None and alone else None,
        peak_batch_size=highest.batch_size if highest is not None and alone else None,
    )


def _growth(probed: Probed, size: int) -> int:
    """Return what a batch takes; of one that was not reached, what the one before the end does."""
    known = [rung.growth_bytes for rung in probed.rungs if rung.batch_size <= size]
    return max(known, default=0)
