"""The seam between a graph and everything that calls one."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray


class Runner(Protocol):
    """Runs one graph: named input arrays to named output arrays, batch first."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        ...


class LimitableRunner(Runner, Protocol):
    """A runner whose runs can be given an end: a graph may hold a loop that has none."""

    def limited(self, seconds: float) -> Runner:
        """Return a runner of the same graph with so many seconds for all its runs together."""
        ...
