"""The whole measurement of a bundle: who takes part, with how many threads, at which batch sizes, how fast."""

import platform
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.bench.batch import batch_of
from evaluate.bench.compiled import fresh_cache
from evaluate.bench.costs import COMPILE_STEPS, Costs
from evaluate.bench.entrants import EAGER, Entrant, eager_entrant, graph_entrants
from evaluate.bench.fitting import usable_bytes
from evaluate.bench.loadgen import SCENARIOS, Load, run_all
from evaluate.bench.others import busy_cpus
from evaluate.bench.peak import measure_peak
from evaluate.bench.progress import OnStep, Progress
from evaluate.bench.result import Bench, BenchError, BenchRow, Peak, Scenario, ThreadTrial
from evaluate.bench.rows import rows_at
from evaluate.bench.settings import Settings
from evaluate.bench.threads import WithThreads, best_of, counts_to_try, torch_threads, try_threads
from evaluate.eager import checked_eager
from evaluate.source import golden_of
from export.factory import load_factory
from export.work import flops_per_row
from serve.bundle import Bundle
from serve.devices import usable_cpus
from serve.runner import Runner


class Measurement:
    """Measures one bundle, step by step.

    Args:
        bundle: A checked bundle, of somebody who is trusted.
        settings: What is measured.
        factory: What builds its network, where it is the user's own: ``package.module:callable``, or of a file.
        module: The network itself, where it is at hand; then eager and torch.compile have no process of their own.
        free: How much memory there is; asked of the system where it is None.
        on_step: Told what goes on, and the share that is done.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings,
        *,
        factory: str | None = None,
        module: nn.Module | None = None,
        free: int | None = None,
        on_step: OnStep = lambda _, __: None,
    ) -> None:
        self.bundle = bundle
        self.settings = settings
        self.inputs: Mapping[str, NDArray[Any]] = golden_of(bundle).inputs
        self._progress = Progress(on_step)
        self._progress.say("building the eager module")
        loaded = None if factory is None else load_factory(factory)
        self._module = checked_eager(bundle, factory=loaded, module=module).module
        self._costs = Costs(
            bundle,
            settings,
            self.inputs,
            factory=factory,
            given=module is not None,
            free=usable_bytes(free),
            progress=self._progress,
        )

    def run(self) -> Bench:
        """Measure.

        Raises:
            BundleError: a graph does not run.
            BenchError: not even the smallest batch fits.
        """
        settings, cpus = self.settings, usable_cpus()
        threads, busy = settings.threads or cpus, busy_cpus()
        if settings.loadgen_s is not None:
            _check_served(self.bundle)
        with ExitStack() as stack:
            stack.enter_context(torch_threads(threads))
            entrants = self._entrants(threads)
            self._progress.steps = len(entrants) + len(settings.sizes) + (0 if settings.quick else 2 + COMPILE_STEPS)
            self._progress.steps += len(SCENARIOS) if settings.loadgen_s is not None else 0
            sizes = self._costs.sizes(entrants, threads)
            trials, for_torch, for_onnx = self._threads(entrants, cpus)
            torch.set_num_threads(for_torch)
            if for_onnx != threads:
                entrants = self._entrants(for_onnx)
            if not settings.quick:
                stack.enter_context(fresh_cache())
                entrants[1:1] = self._costs.compiled(self._module, sizes, for_torch)
            peaks = self._peaks(entrants, cpus)
            work = self._work()
            rows = self._rows(entrants, sizes, peaks, work)
            scenarios = self._loadgen(entrants, rows)
        return Bench(
            name=self.bundle.manifest.name,
            bundle_sha256=self.bundle.manifest.sha256,
            machine=f"{platform.system()} {platform.machine()}, {cpus} CPUs",
            libraries={"torch": str(torch.__version__), "onnxruntime": onnxruntime.__version__},
            rounds=settings.rounds,
            seconds=settings.seconds,
            torch_threads=for_torch,
            onnxruntime_threads=for_onnx,
            flops_per_row=work,
            rows=rows,
            runners=tuple(self._costs.found),
            trials=trials,
            peaks=peaks,
            left_out=tuple(self._costs.left_out),
            scenarios=scenarios,
            busy_cpus=busy,
        )

    def _entrants(self, threads: int) -> list[Entrant]:
        graphs = graph_entrants(self.bundle, provider=self.settings.provider, threads=threads)
        return [eager_entrant(self.bundle, self._module), *graphs]

    def _threads(self, entrants: list[Entrant], cpus: int) -> tuple[tuple[ThreadTrial, ...], int, int]:
        """Return what was tried, and the threads for torch and for ONNX Runtime."""
        settings = self.settings
        if settings.threads is not None or settings.quick:
            return (), settings.threads or cpus, settings.threads or cpus
        self._progress.say("how many threads are best")
        batch, counts = batch_of(self.inputs, self._costs.affordable), counts_to_try(cpus)
        eager = try_threads(EAGER, partial(WithThreads, entrants[0].runner), counts, batch, seconds=settings.seconds)
        onnx: tuple[ThreadTrial, ...] = ()
        first = next((entrant for entrant in entrants if entrant.provider == "CPUExecutionProvider"), None)
        if first is not None:
            onnx = try_threads(first.name, partial(self._onnx, first), counts, batch, seconds=settings.seconds)
        self._progress.advance()
        return (*eager, *onnx), best_of(eager), best_of(onnx) if onnx else cpus

    def _peaks(self, entrants: list[Entrant], cpus: int) -> tuple[Peak, ...]:
        if self.settings.quick:
            return ()
        self._progress.say("what this machine does at most")
        devices = ["cpu"]
        if any(entrant.on_cuda for entrant in entrants) and torch.cuda.is_available():
            devices.append("cuda")
        peaks = tuple(measure_peak(device, threads=cpus) for device in devices)
        self._progress.advance()
        return peaks

    def _rows(
        self, entrants: list[Entrant], sizes: tuple[int, ...], peaks: tuple[Peak, ...], work: int
    ) -> tuple[BenchRow, ...]:
        rows: list[BenchRow] = []
        for size in sizes:
            taking_part = self._costs.at(entrants, size)
            if taking_part[0].name != EAGER:
                break

            def told(turn: int, of: int, size: int = size) -> None:
                self._progress.say(f"batch {size}, round {turn + 1} of {of}", turn / of)

            self._progress.say(f"batch {size}, warming up")
            rows += rows_at(
                taking_part,
                batch_of(self.inputs, size),
                settings=self.settings,
                peaks=peaks,
                flops_per_row=work,
                on_round=told,
            )
            self._progress.advance()
        return tuple(rows)

    def _loadgen(self, entrants: list[Entrant], rows: tuple[BenchRow, ...]) -> tuple[Scenario, ...]:
        """Let MLPerf's load generator question the float32 ONNX graph, on CUDA where that is there."""
        settings = self.settings
        if settings.loadgen_s is None:
            return ()
        served = [entrant for entrant in entrants if entrant.provider.endswith("ExecutionProvider")]
        chosen = next(entrant for entrant in reversed(served) if entrant.precision == "float32")
        mine = [row for row in rows if (row.runner, row.provider) == (chosen.name, chosen.provider)]
        best = max(mine, key=lambda row: row.rows_per_s)
        one = mine[0].rows_per_s / mine[0].batch_size if mine[0].batch_size > 1 else mine[0].rows_per_s

        def told(scenario: str) -> None:
            self._progress.say(f"MLPerf's {scenario}")
            self._progress.advance()

        load = Load(
            graph=chosen.label,
            runner=chosen.runner,
            inputs=self.inputs,
            largest=best.batch_size,
            rows_per_s=(one, best.rows_per_s),
            seconds=settings.loadgen_s,
            target_qps=settings.target_qps,
            latency_ms=settings.latency_ms,
        )
        return run_all(load, on_scenario=told)

    def _work(self) -> int:
        inputs = [self.inputs[spec.name] for spec in self.bundle.manifest.inputs]
        example = tuple(torch.from_numpy(np.ascontiguousarray(values[:1])) for values in inputs)
        return flops_per_row(self._module, example)

    def _onnx(self, entrant: Entrant, threads: int) -> Runner:
        return graph_entrants(self.bundle, provider="cpu", threads=threads, graphs=(entrant.name,))[0].runner


def _check_served(bundle: Bundle) -> None:
    """Check that there is what the load generator asks."""
    if not any(entry.format == "onnx" and entry.precision in {None, "float32"} for entry in bundle.manifest.files):
        raise BenchError(
            f"--loadgen questions a float32 ONNX graph, but {bundle.path} holds none; export it with --formats onnx"
        )
