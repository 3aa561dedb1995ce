"""Adding element by element in a loop against one addition of the whole."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from train.studies.result import Cell, Curve, StudyResult, as_verdict

NOTES_S = (0.16749, 0.00042)
LEAST_RATIO = 100.0
REPEATS = 5


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:  # noqa: ARG001 - every study takes the same
    """Time both at several lengths; the last is the notes' 10,000."""
    lengths = (1_000, 10_000) if quick else (10, 100, 1_000, 10_000)
    rows: list[tuple[Cell, ...]] = []
    loops, wholes = [], []
    for length in lengths:
        first, second = torch.ones(length), torch.ones(length)
        loops.append(_time_s(_loop, first, second))
        wholes.append(_time_s(torch.add, first, second))
        rows.append((length, 1e3 * loops[-1], 1e3 * wholes[-1], loops[-1] / wholes[-1]))
    ratio = loops[-1] / wholes[-1]
    return StudyResult(
        title=f"Element by element and all at once, median of {REPEATS} after a warm-up",
        claim=(
            f"10,000 additions take {NOTES_S[0]} s in a loop and {NOTES_S[1]} s at once, "
            f"{NOTES_S[0] / NOTES_S[1]:.0f} times less."
        ),
        columns=("length", "loop, ms", "at once, ms", "ratio"),
        rows=tuple(rows),
        finding=f"at length {lengths[-1]:,} at once is {ratio:,.0f} times faster; {LEAST_RATIO:g} counts as enough.",
        verdict=as_verdict(ratio >= LEAST_RATIO),
        curves=(Curve(label="loop", x=lengths, y=tuple(loops)), Curve(label="at once", x=lengths, y=tuple(wholes))),
        axes=("elements", "seconds"),
        log_scale=(True, True),
    )


def _loop(first: Tensor, second: Tensor) -> Tensor:
    total = torch.zeros(len(first))
    for index in range(len(first)):
        total[index] = first[index] + second[index]
    return total


def _time_s(add: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor) -> float:
    add(first, second)
    durations = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        add(first, second)
        durations.append(time.perf_counter() - start)
    return median(durations)
