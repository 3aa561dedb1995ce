"""How many threads torch computes with; the setting is the whole process's, so it is put back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray

from serve.runner import Runner


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Let torch use so many threads, and as many as before afterwards; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class OnThreads:
    """A torch runner that uses so many threads while it runs, whatever the process does else."""

    def __init__(self, runner: Runner, threads: int) -> None:
        self._runner = runner
        self._threads = threads

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        with torch_threads(self._threads):
            return self._runner.run(inputs)
