"""Starts `evaluate.bench.probe` for each runner, one after the other, and reads what it says."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evaluate.bench.probe import Job, Rung

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What one runner did in its own process.

    Attributes:
        start_s: From its start to the first answer, without what compiling took; None where none came.
        rungs: What each batch size took.
        fault: Why it ended early, or None.
    """

    start_s: float | None
    rungs: tuple[Rung, ...]
    fault: str | None

    @property
    def compile_s(self) -> float:
        """Return how much longer first runs took than second ones."""
        ran = [(rung.first_s, rung.second_s) for rung in self.rungs]
        return sum(max(0.0, first - second) for first, second in ran if first is not None and second is not None)

    @property
    def highest(self) -> Rung | None:
        """Return the greatest batch that ran."""
        ran = [rung for rung in self.rungs if rung.first_s is not None]
        return ran[-1] if ran else None


def probe(job: Job, *, compiles: bool = False) -> Probed:
    """Run a job in a process of its own.

    Args:
        job: What is run.
        compiles: Whether its first runs compile.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.getenv("PYTHONPATH")]))}
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "evaluate.bench.probe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        try:
            start_s, rungs = _listen(process, job, start)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        errors.seek(0)
        last = errors.read().decode("utf-8", errors="replace").strip().splitlines()
    if start_s is not None:  # a line comes after two runs: the second is left out, or the first where that compiled
        first_s, second_s = rungs[0].first_s or 0.0, rungs[0].second_s or 0.0
        start_s -= first_s if compiles else second_s
    fault = None
    if code:
        fault = last[-1] if code > 0 and last else f"its process ended with code {code}"
    return Probed(start_s=start_s, rungs=rungs, fault=fault)


def _listen(process: "subprocess.Popen[bytes]", job: Job, start: float) -> tuple[float | None, tuple[Rung, ...]]:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - they are pipes
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(msgspec.json.encode(job))
        process.stdin.close()
    start_s: float | None = None
    rungs: list[Rung] = []
    for line in process.stdout:
        if start_s is None:
            start_s = time.perf_counter() - start
        rungs.append(msgspec.json.decode(line, type=Rung))
    return start_s, tuple(rungs)
