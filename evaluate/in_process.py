"""Commands of this project in this very process, as a user types them: what they exit with, and what they say."""

import io
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evaluate.__main__ import main
from evaluate.certificate import Check
from evaluate.graph_verdict import Comparison, Reduced, Verdict
from serve.bundle import Precision

HOLDS, FAILS = 0, 1
_STOPPED = {130, 143}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One command as it ended.

    Attributes:
        code: Its exit code.
        result: What it wrote to stdout.
        last_words: The last line of stderr that is not blank.
    """

    code: int
    result: str
    last_words: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGraph:
    """What is read here of a certificate's `GraphVerdict`."""

    graph: str
    precision: Precision
    verdict: Verdict
    reason: str | None
    comparisons: tuple[Comparison, ...]
    reduced: Reduced | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is read here of a `Certificate`: figures that no verdict rests on may be no numbers where a graph fails."""

    checks: tuple[Check, ...]
    graphs: tuple[FoundGraph, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What ``python -m evaluate parity`` found.

    Attributes:
        code: Its exit code.
        reason: Why that is not 0, or None.
        checks: What the certificate says of the bundle; empty where it could not tell.
        graphs: What it says of the graphs, likewise.
    """

    code: int
    reason: str | None
    checks: tuple[Check, ...]
    graphs: tuple[FoundGraph, ...]
    duration_s: float


def run_here(command: Callable[[list[str]], int], *arguments: str) -> Ended:
    """Run the `main` of a package; a start of Python and of torch for each would take most of the time.

    Raises:
        KeyboardInterrupt: it was stopped, and so is whoever called it.
    """
    out, err = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    with redirect_stdout(out), redirect_stderr(err):
        code = command(list(arguments))
    if code in _STOPPED:
        raise KeyboardInterrupt
    lines = [line.strip() for line in err.getvalue().splitlines() if line.strip()]
    return Ended(
        code=code,
        result=out.getvalue(),
        last_words=lines[-1] if lines else "",
        duration_s=time.perf_counter() - start,
    )


def judge_here(bundle: Path, *options: str) -> Judged:
    """Run ``python -m evaluate parity`` on a bundle, which stays as it is."""
    ended = run_here(main, "parity", str(bundle), "--no-certificate", "--json", "-", *options)
    if ended.code in {HOLDS, FAILS}:
        found = msgspec.json.decode(ended.result, type=Found)
        reason = _reason(found)
    else:
        found, reason = Found(checks=(), graphs=()), ended.last_words or "no word"
    return Judged(code=ended.code, reason=reason, checks=found.checks, graphs=found.graphs, duration_s=ended.duration_s)


def _reason(found: Found) -> str | None:
    """Return the first thing that keeps a certificate from passing."""
    wrong = [f"{check.name}: {check.detail}" for check in found.checks if not check.passed]
    wrong += [f"{graph.graph}: {graph.reason}" for graph in found.graphs if graph.verdict != "pass"]
    return wrong[0] if wrong else None
