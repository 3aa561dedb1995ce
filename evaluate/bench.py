"""Latency and rate of every way to run a bundle, taken in turn so that all meet the same machine."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from evaluate.eager import eager_of
from evaluate.runners import candidates, weights_bytes
from evaluate.source import golden_of
from export.factory import Factory
from serve.bundle import Bundle, BundleError, Precision
from serve.devices import Choice, usable_cpus
from serve.runner import Runner

BATCH_SIZES = (1, 8, 64)
_WARM_UP = 3
_SLICE_S = 0.02  # one measurement lasts at least this long, so that the clock's own step does not show


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One runner at one batch size.

    Attributes:
        batch_size: Rows of one run.
        runner: File name, or ``eager``.
        provider: What ran it.
        precision: What it computes in.
        size_bytes: Size of its file; of eager, of its weights.
        median_ms: Median duration of one run over the rounds.
        quartile_ms: First and third quartile.
        rows_per_s: Rows a second at the median.
        speed_over_eager: Eager's median over this one's.
    """

    batch_size: int
    runner: str
    provider: str
    precision: Precision
    size_bytes: int
    median_ms: float
    quartile_ms: tuple[float, float]
    rows_per_s: float
    speed_over_eager: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What `python -m evaluate bench` reports."""

    name: str
    bundle_sha256: str
    rounds: int
    torch_threads: int
    onnxruntime_threads: int
    machine: str
    rows: tuple[BenchRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Entrant:
    name: str
    provider: str
    precision: Precision
    size_bytes: int
    runner: Runner


def bench_bundle(
    bundle: Bundle,
    *,
    provider: Choice = "auto",
    batch_sizes: tuple[int, ...] = BATCH_SIZES,
    rounds: int = 15,
    factory: Factory | None = None,
    module: nn.Module | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Time the eager module and every graph of a bundle on its golden inputs.

    In every round each runner has its turn, so that a machine that slows down slows all of them.

    Raises:
        BundleError: a graph does not run.
    """
    eager, _ = eager_of(bundle, factory=factory, module=module)
    runners: list[_Entrant] = [
        _Entrant(
            name="eager",
            provider="torch CPU",
            precision="float32",
            size_bytes=weights_bytes(bundle),
            runner=eager.single,
        )
    ]
    for candidate in candidates(bundle, provider=provider):
        if candidate.runner is None:
            raise BundleError(f"{candidate.graph} cannot be run: {candidate.fault}")
        runners.append(
            _Entrant(
                name=candidate.graph,
                provider=candidate.provider,
                precision=candidate.precision,
                size_bytes=candidate.size_bytes,
                runner=candidate.runner,
            )
        )
    golden = golden_of(bundle)
    rows: list[BenchRow] = []
    for batch_size in batch_sizes:
        inputs = {name: np.resize(values, (batch_size, *values.shape[1:])) for name, values in golden.inputs.items()}
        calls = [partial(entrant.runner.run, inputs) for entrant in runners]
        repeats = [_repeats(call) for call in calls]
        seconds = np.empty((len(runners), rounds))
        for turn in range(rounds):
            on_step(f"batch {batch_size}, round {turn + 1} of {rounds}")
            for index, call in enumerate(calls):
                seconds[index, turn] = _time(call, repeats[index])
        low, median, high = 1000 * np.quantile(seconds, (0.25, 0.5, 0.75), axis=1)
        for index, entrant in enumerate(runners):
            rows.append(
                BenchRow(
                    batch_size=batch_size,
                    runner=entrant.name,
                    provider=entrant.provider,
                    precision=entrant.precision,
                    size_bytes=entrant.size_bytes,
                    median_ms=float(median[index]),
                    quartile_ms=(float(low[index]), float(high[index])),
                    rows_per_s=float(1000 * batch_size / median[index]),
                    speed_over_eager=float(median[0] / median[index]),
                )
            )
    return Bench(
        name=bundle.manifest.name,
        bundle_sha256=bundle.manifest.sha256,
        rounds=rounds,
        torch_threads=torch.get_num_threads(),
        onnxruntime_threads=usable_cpus(),
        machine=f"{platform.system()} {platform.machine()}",
        rows=tuple(rows),
    )


def _repeats(call: Callable[[], object]) -> int:
    """Warm a runner up and return how many calls fill one measurement."""
    for _ in range(_WARM_UP):
        call()
    return max(1, round(_SLICE_S / max(_time(call, 1), 1e-6)))


def _time(call: Callable[[], object], repeats: int) -> float:
    """Return seconds a call, over some calls in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
