"""What every graph under test looks like here: steps in order, and their values on demand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One node of a graph.

    Attributes:
        name: Of the node.
        operator: Its type, such as ``Conv``.
        path: Of the module that it comes from.
        source: Where that module's source stands, ``file:line``, or empty.
        key: What it is recognised by among PyTorch's operations: module path and operation; None where it says neither.
        group: Nodes that one operation became have the same.
        inputs: Names of the values it reads, but for weights and constants.
        outputs: Names of the values it gives.
        weights: Names of the weights and constants it reads.
        settings: What else decides what it does, by name, as text.
    """

    name: str
    operator: str
    path: str
    source: str
    key: tuple[str, str] | None
    group: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()


class Graph(Protocol):
    """A graph under test, on fixed inputs."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """All nodes, in the order in which they run."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values that are the graph's outputs, in the manifest's order."""

    def values(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Run the graph as it was written and return some of its values; no others are kept."""
