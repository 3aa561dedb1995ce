"""One runner alone in a fresh process: when its first answer comes, and how much memory its batches take.

Started as a module. It reads a `Job` as JSON from stdin, and writes one JSON `Rung` a line. torch is imported only for
what needs it, so that ONNX starts as it does where it is served.
"""

import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from numpy.typing import NDArray

from evaluate.bench.batch import batch_of
from evaluate.bench.memory import forget_peak, held_bytes, peak_bytes
from serve.bundle import Bundle, BundleError, read_bundle
from serve.devices import Provider
from serve.golden import read_golden
from serve.runner import Runner

_TWICE = 2  # batches that are run twice: whatever compiles does it for a single row, and for more
_STEP = 4  # from one batch to a greater one, so that a look ahead sees little of the unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process is to run.

    Attributes:
        bundle: Its directory.
        bundle_sha256: Digest of the bundle that was checked, and trusted, by who asks.
        runner: ``eager``, ``torch.compile``, or a file of the bundle.
        provider: ONNX Runtime's exact name, for ONNX.
        threads: Threads of one run.
        batch_sizes: Rows of the runs, ascending.
        factory: What builds the network, where it is the user's own.
        free_bytes: How much more memory it may take; None where nobody knows.
        most_s: How long one run may take, about.
    """

    bundle: str
    bundle_sha256: str
    runner: str
    provider: str
    threads: int
    batch_sizes: tuple[int, ...]
    factory: str | None
    free_bytes: int | None
    most_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What one batch size took, or would have taken.

    Attributes:
        batch_size: Rows of the run.
        first_s: How long its first run took; None where it was not run.
        second_s: How long the next one took; None where there was none.
        peak_bytes: Greatest resident memory until then; None where the system does not say.
        growth_bytes: How much of that came after the runner was loaded, or would come.
    """

    batch_size: int
    first_s: float | None
    second_s: float | None
    peak_bytes: int | None
    growth_bytes: int


def ladder(batch_sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return one row, the batch sizes asked for, and steps between them where they are far apart; ascending."""
    rungs = [1]
    for size in sorted({*batch_sizes} - {1}):
        while size > _STEP * rungs[-1]:
            rungs.append(_STEP * rungs[-1])
        rungs.append(size)
    return tuple(rungs)


def climb(
    runner: Runner,
    inputs: Mapping[str, NDArray[Any]],
    rungs: tuple[int, ...],
    *,
    free: int | None,
    most_s: float = math.inf,
) -> Iterator[Rung]:
    """Run ever greater batches, until the next would not fit, or would take too long: of those, growth is foretold.

    Args:
        runner: What runs them.
        inputs: Rows to fill batches with, again and again.
        rungs: Batch sizes, ascending.
        free: How much memory may be taken from now on.
        most_s: How long a run may take, about.
    """
    loaded, peak = held_bytes(), peak_bytes()
    base, grown = 0, (0, 0)  # what one row takes, and rows with what they take beyond that
    pace = 0.0  # seconds a row
    for index, rows in enumerate(rungs):
        ahead = base + (grown[1] * rows // grown[0] if grown[0] else 0)
        if free is not None and ahead > free:
            yield Rung(batch_size=rows, first_s=None, second_s=None, peak_bytes=None, growth_bytes=ahead)
            return
        if pace * rows > most_s:
            yield Rung(batch_size=rows, first_s=None, second_s=None, peak_bytes=None, growth_bytes=ahead)
            continue
        batch = batch_of(inputs, rows)
        forget_peak()
        first_s = _time(runner, batch)
        second_s = _time(runner, batch) if index < _TWICE else None
        pace = (second_s or first_s) / rows
        here = peak_bytes()
        growth = 0
        if here is not None and peak is not None:
            peak = max(peak, here)
            growth = max(0, here - (loaded or here))
            base, grown = (growth, grown) if rows == rungs[0] else (base, (rows, max(0, growth - base)))
        yield Rung(batch_size=rows, first_s=first_s, second_s=second_s, peak_bytes=peak, growth_bytes=growth)


def _time(runner: Runner, batch: Mapping[str, NDArray[Any]]) -> float:
    start = time.perf_counter()
    runner.run(batch)
    return time.perf_counter() - start


def _load(job: Job, bundle: Bundle) -> Runner:
    manifest = bundle.manifest
    entry = next((entry for entry in manifest.files if entry.path == job.runner), None)
    if entry is not None and entry.format == "onnx":
        from serve.onnx_runner import OnnxRunner

        return OnnxRunner(
            bundle.read(entry),
            name=entry.path,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            provider=cast(Provider, job.provider),
            threads=job.threads,
            weights=bundle.read_weights(entry),
        )
    import torch

    from evaluate.bench.compiled import compiled
    from evaluate.bench.result import COMPILED
    from export.deployable import rebuild
    from export.factory import load_factory
    from export.module_runner import ModuleRunner
    from export.to_exported_program import load_exported_program
    from export.to_torchscript import load_torchscript

    torch.set_num_threads(job.threads)
    if entry is None:
        module = rebuild(bundle, factory=None if job.factory is None else load_factory(job.factory))
        if job.runner == COMPILED:
            module = compiled(module)
    else:
        load = load_torchscript if entry.format == "torchscript" else load_exported_program
        module = cast(torch.nn.Module, load(bundle.read(entry)))
    return ModuleRunner(
        module,
        inputs=tuple(spec.name for spec in manifest.inputs),
        outputs=tuple(spec.name for spec in manifest.outputs),
    )


def main() -> int:
    """Run a job."""
    words = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no word of ours
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    bundle = read_bundle(Path(job.bundle))
    if bundle.manifest.sha256 != job.bundle_sha256:
        raise BundleError(f"{job.bundle} changed while it was measured; measure it again")
    golden = bundle.entry("golden")
    if golden is None:
        raise BundleError(f"{job.bundle} holds no golden inputs; export the run again")
    runner = _load(job, bundle)
    inputs, rungs = read_golden(bundle.read(golden)).inputs, ladder(job.batch_sizes)
    for rung in climb(runner, inputs, rungs, free=job.free_bytes, most_s=job.most_s):
        words.write(msgspec.json.encode(rung).decode() + "\n")
        words.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
