"""The whole measurement of a bundle: who takes part, with how many threads, at which batch sizes, how fast."""

import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.bench.compiled import compiler_fault, fresh_cache
from evaluate.bench.entrants import EAGER, Entrant, compiled_entrant, eager_entrant, graph_entrants
from evaluate.bench.fitting import cost_of, fit, look_at, usable_bytes
from evaluate.bench.loadgen import SCENARIOS, run_all
from evaluate.bench.own_process import Probed
from evaluate.bench.peak import measure_peak
from evaluate.bench.probe import Job, ladder
from evaluate.bench.result import COMPILED, Bench, BenchError, BenchRow, Peak, RunnerCost, Scenario, ThreadTrial
from evaluate.bench.rows import rows_at
from evaluate.bench.settings import Settings
from evaluate.bench.threads import WithThreads, best_of, counts_to_try, torch_threads, try_threads
from evaluate.eager import checked_eager
from evaluate.source import golden_of
from export.factory import load_factory
from export.quiet import quiet
from export.work import flops_per_row
from serve.bundle import Bundle, BundleError
from serve.devices import Provider, usable_cpus
from serve.onnx_runner import OnnxRunner
from serve.runner import Runner

OnStep = Callable[[str, float], None]
_MOST_OF_SECONDS = 2  # one run, of what a runner may take at a batch size, when memory and threads are looked at
_COMPILE_STEPS = 3  # it takes as long as so many other steps


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
        self._factory = factory
        self._given = module is not None
        self._on_step = on_step
        self._done, self._steps = 0.0, 1.0
        self._say("building the eager module")
        loaded = None if factory is None else load_factory(factory)
        self._module = checked_eager(bundle, factory=loaded, module=module).module
        self._free = usable_bytes(free)
        self._left_out: list[str] = []
        self._costs: list[RunnerCost] = []
        self._most: dict[str, int] = {}
        self._affordable = 1

    def run(self) -> Bench:
        """Measure.

        Raises:
            BundleError: a graph does not run.
            BenchError: not even the smallest batch fits.
        """
        settings, cpus = self.settings, usable_cpus()
        with ExitStack() as stack:
            stack.enter_context(torch_threads(settings.threads or cpus))
            entrants = self._entrants(settings.threads or cpus)
            self._steps = len(entrants) + len(settings.sizes) + (0 if settings.quick else 2 + _COMPILE_STEPS)
            self._steps += len(SCENARIOS) if settings.loadgen_s is not None else 0
            sizes = self._sizes(entrants, settings.threads or cpus)
            trials, for_torch, for_onnx = self._threads(entrants, cpus)
            torch.set_num_threads(for_torch)
            if for_onnx != (settings.threads or cpus):
                entrants = self._entrants(for_onnx)
            compiled = self._compile(stack, sizes, for_torch)
            entrants[1:1] = compiled
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
            runners=tuple(self._costs),
            trials=trials,
            peaks=peaks,
            left_out=tuple(self._left_out),
            scenarios=scenarios,
        )

    def _entrants(self, threads: int) -> list[Entrant]:
        graphs = graph_entrants(self.bundle, provider=self.settings.provider, threads=threads)
        return [eager_entrant(self.bundle, self._module), *graphs]

    def _sizes(self, entrants: list[Entrant], threads: int) -> tuple[int, ...]:
        """Look at each runner alone, and choose what fits."""
        probed = []
        for entrant in entrants:
            self._say(f"{entrant.label}: start and memory")
            alone = self._alone(entrant)
            one = look_at(entrant, self._job(entrant, self.settings.sizes, threads), self.inputs, alone=alone)
            if one.highest is None:
                raise BundleError(f"{entrant.label} cannot be run: {one.fault or 'one row does not fit into memory'}")
            self._note_end(entrant, one)
            self._costs.append(cost_of(entrant, one, alone=alone))
            probed.append(one)
            self._done += 1
        fitting = fit(self.settings.sizes, probed, free=self._free)
        self._left_out += fitting.left_out
        if not fitting.sizes:
            raise BenchError(fitting.left_out[0])
        ran = {rung.batch_size for rung in probed[0].rungs if rung.first_s is not None}
        self._affordable = max((size for size in fitting.sizes if size in ran), default=1)
        return fitting.sizes

    def _threads(self, entrants: list[Entrant], cpus: int) -> tuple[tuple[ThreadTrial, ...], int, int]:
        """Return what was tried, and the threads for torch and for ONNX Runtime."""
        settings = self.settings
        if settings.threads is not None or settings.quick:
            return (), settings.threads or cpus, settings.threads or cpus
        self._say("how many threads are best")
        batch, counts = self._batch(self._affordable), counts_to_try(cpus)
        eager = try_threads(EAGER, partial(WithThreads, entrants[0].runner), counts, batch, seconds=settings.seconds)
        onnx: tuple[ThreadTrial, ...] = ()
        first = next((entrant for entrant in entrants if entrant.provider == "CPUExecutionProvider"), None)
        if first is not None:
            onnx = try_threads(first.name, partial(self._onnx, first), counts, batch, seconds=settings.seconds)
        self._done += 1
        return (*eager, *onnx), best_of(eager), best_of(onnx) if onnx else cpus

    def _compile(self, stack: ExitStack, sizes: tuple[int, ...], threads: int) -> list[Entrant]:
        """Return the compiled module, warm, or nothing where it cannot be had."""
        if self.settings.quick:
            return []
        fault = compiler_fault()
        if fault is not None:
            self._left_out.append(f"{COMPILED} is left out: no C++ compiler is here ({fault}); install g++ or clang++")
            return []
        self._say(f"{COMPILED}: compiling")
        stack.enter_context(fresh_cache())
        entrant = compiled_entrant(self.bundle, self._module)
        alone = self._alone(entrant)
        job = self._job(entrant, sizes, threads)
        with quiet():
            one = look_at(entrant, job, self.inputs, alone=alone, compiles=True)
        self._done += _COMPILE_STEPS
        if one.highest is None or (alone and not self._warm(entrant, ladder(sizes)[:2])):
            self._left_out.append(f"{COMPILED} is left out: {one.fault or 'it does not run in this process'}")
            return []
        self._note_end(entrant, one)
        self._costs.insert(1, cost_of(entrant, one, alone=alone, compiles=True))
        return [entrant]

    def _warm(self, entrant: Entrant, sizes: tuple[int, ...]) -> bool:
        """Let a compiled module make its code for one row and for many in this process, too, out of the cache."""
        try:
            with quiet():
                for rows in sizes:
                    entrant.runner.run(self._batch(rows))
        except Exception:  # noqa: BLE001 - a compiler raises whatever its parts do
            return False
        return True

    def _peaks(self, entrants: list[Entrant], cpus: int) -> tuple[Peak, ...]:
        if self.settings.quick:
            return ()
        self._say("what this machine does at most")
        devices = ["cpu"]
        if any(entrant.on_cuda for entrant in entrants) and torch.cuda.is_available():
            devices.append("cuda")
        peaks = tuple(measure_peak(device, threads=cpus) for device in devices)
        self._done += 1
        return peaks

    def _rows(
        self, entrants: list[Entrant], sizes: tuple[int, ...], peaks: tuple[Peak, ...], work: int
    ) -> tuple[BenchRow, ...]:
        rows: list[BenchRow] = []
        for size in sizes:
            taking_part = [entrant for entrant in entrants if self._most.get(entrant.label, size) >= size]
            if taking_part[0].name != EAGER:
                break

            def told(turn: int, of: int, size: int = size) -> None:
                self._say(f"batch {size}, round {turn + 1} of {of}", turn / of)

            self._say(f"batch {size}, warming up")
            rows += rows_at(
                taking_part, self._batch(size), settings=self.settings, peaks=peaks, flops_per_row=work, on_round=told
            )
            self._done += 1
        return tuple(rows)

    def _loadgen(self, entrants: list[Entrant], rows: tuple[BenchRow, ...]) -> tuple[Scenario, ...]:
        """Let MLPerf's load generator question the float32 ONNX graph, on CUDA where that is there."""
        settings = self.settings
        if settings.loadgen_s is None:
            return ()
        served = [entrant for entrant in entrants if entrant.provider.endswith("ExecutionProvider")]
        chosen = next((entrant for entrant in reversed(served) if entrant.precision == "float32"), None)
        if chosen is None:
            raise BenchError(
                f"--loadgen questions a float32 ONNX graph, but {self.bundle.path} holds none; export it with "
                "--formats onnx"
            )
        mine = [row for row in rows if (row.runner, row.provider) == (chosen.name, chosen.provider)]
        best = max(mine, key=lambda row: row.rows_per_s)
        one = mine[0].rows_per_s / mine[0].batch_size if mine[0].batch_size > 1 else mine[0].rows_per_s

        def told(scenario: str) -> None:
            self._say(f"MLPerf's {scenario}")
            self._done += 1

        return run_all(
            chosen.runner,
            self.inputs,
            graph=chosen.label,
            seconds=settings.loadgen_s,
            largest=best.batch_size,
            rows_per_s=(one, best.rows_per_s),
            target_qps=settings.target_qps,
            latency_ms=settings.latency_ms,
            on_scenario=told,
        )

    def _work(self) -> int:
        inputs = [self.inputs[spec.name] for spec in self.bundle.manifest.inputs]
        example = tuple(torch.from_numpy(np.ascontiguousarray(values[:1])) for values in inputs)
        return flops_per_row(self._module, example)

    def _onnx(self, entrant: Entrant, threads: int) -> Runner:
        manifest = self.bundle.manifest
        entry = next(entry for entry in manifest.files if entry.path == entrant.name)
        provider: Provider = "CPUExecutionProvider"
        return OnnxRunner(
            self.bundle.read(entry),
            name=entry.path,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            provider=provider,
            threads=threads,
            weights=self.bundle.read_weights(entry),
        )

    def _alone(self, entrant: Entrant) -> bool:
        return not self.settings.quick and not (self._given and entrant.name in {EAGER, COMPILED})

    def _job(self, entrant: Entrant, sizes: tuple[int, ...], threads: int) -> Job:
        return Job(
            bundle=str(self.bundle.path),
            bundle_sha256=self.bundle.manifest.sha256,
            runner=entrant.name,
            provider=entrant.provider,
            threads=threads,
            batch_sizes=sizes,
            factory=self._factory,
            free_bytes=self._free,
            most_s=_MOST_OF_SECONDS * self.settings.seconds,
        )

    def _note_end(self, entrant: Entrant, probed: Probed) -> None:
        """Note where a runner ended early."""
        if probed.fault is None or probed.highest is None:
            return
        self._most[entrant.label] = probed.highest.batch_size
        self._left_out.append(
            f"{entrant.label} is left out above batch {probed.highest.batch_size}: it fails there ({probed.fault})"
        )

    def _batch(self, rows: int) -> dict[str, NDArray[Any]]:
        return {name: np.resize(values, (rows, *values.shape[1:])) for name, values in self.inputs.items()}

    def _say(self, doing: str, part: float = 0.0) -> None:
        self._on_step(doing, min(1.0, (self._done + part) / self._steps))
