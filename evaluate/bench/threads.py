"""How many threads are best on this machine, for torch and for ONNX Runtime."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluate.bench.result import ThreadTrial
from evaluate.bench.timing import affordable_rounds, time_in_turn, warm_up
from serve.runner import Runner

_ROUNDS = 7


def counts_to_try(usable: int) -> tuple[int, ...]:
    """Return numbers of threads worth a try: 1, 2, 4 and so on, and all."""
    counts = [1]
    while 2 * counts[-1] < usable:
        counts.append(2 * counts[-1])
    return tuple(sorted({*counts, usable}))


def try_threads(
    name: str,
    make: Callable[[int], Runner],
    counts: Sequence[int],
    inputs: Mapping[str, NDArray[Any]],
    *,
    seconds: float,
) -> tuple[ThreadTrial, ...]:
    """Time a batch with each number of threads, in turn.

    Args:
        name: What the runner is called.
        make: Returns a runner that uses so many threads.
        counts: Numbers of threads.
        inputs: One batch.
        seconds: What all runs with one number may take, about.
    """
    runners = [make(count) for count in counts]
    warm = [warm_up(lambda runner=runner: runner.run(inputs), seconds=seconds) for runner in runners]  # type: ignore[misc]
    rounds = affordable_rounds(warm, rounds=_ROUNDS, seconds=seconds)
    medians = np.median(time_in_turn(warm, rounds=rounds), axis=1)
    rows = len(next(iter(inputs.values())))
    return tuple(
        ThreadTrial(runner=name, threads=count, batch_size=rows, median_ms=1000 * float(median))
        for count, median in zip(counts, medians, strict=True)
    )


def best_of(trials: Sequence[ThreadTrial]) -> int:
    """Return the number of threads that took least time."""
    return min(trials, key=lambda trial: trial.median_ms).threads


class WithThreads:
    """A torch runner that sets its number of threads before each run; the setting is the whole process's."""

    def __init__(self, runner: Runner, threads: int) -> None:
        self._runner = runner
        self._threads = threads

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        return self._runner.run(inputs)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
