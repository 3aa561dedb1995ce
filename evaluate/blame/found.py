"""What blame finds: the operator, and the error of every value along the graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from evaluate.blame.weights import WeightDifference
from serve.bundle import Precision

Fault = Literal["wrong", "inserted", "missing", "wired", "random"]
_HAPPENED: Mapping[Fault, str] = {
    "wrong": "gives other values than PyTorch's operation does on the same inputs",
    "inserted": "is in the graph, but not in the module",
    "missing": "is in the module, but not in the graph",
    "wired": "reads another value than in the module",
    "random": "draws random numbers, which no right graph does",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """The operator that is to blame.

    Attributes:
        fault: What is wrong with it.
        operator: Its type in the graph.
        node: Its name there.
        pytorch: The operation of PyTorch's that it stands for.
        path: Of the module that calls it.
        source: Where that stands, ``file:line``, or empty.
        value: Name of the first value that shows it.
        error_before: Greatest error among its inputs, as a multiple of eager's; None of what draws at random.
        error_after: Error of its result, as a multiple of eager's; None where that is no number (shape, dtype, NaN).
        share: How far its own error alone moves the outputs, as a multiple of what they are allowed; None as before.
        detail: What else was found.
    """

    fault: Fault
    operator: str
    node: str
    pytorch: str
    path: str
    source: str
    value: str
    error_before: float | None
    error_after: float | None
    share: float | None
    detail: str

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        return f"{self.operator} ({self.node}) {_HAPPENED[self.fault]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value along the graph.

    Attributes:
        operator: Type of the node.
        node: Its name.
        path: Of the module that it comes from.
        error: Of the value, root mean square, as a share of the value's own size; None where it has no number.
        eager_error: The same of eager's.
        times_eager: The error as a multiple of eager's, or of one unit in the last place.
        added: What this node adds, as a multiple of what the rule allows it; None where it has no number.
    """

    operator: str
    node: str
    path: str
    error: float | None
    eager_error: float
    times_eager: float | None
    added: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one operator of a graph of reduced precision costs.

    Attributes:
        operator: Its type.
        node: Its name.
        path: Of the module that it comes from.
        source: Where that stands, ``file:line``, or empty.
        share: How far its own error alone moves an output, as a share of that output's whole error (root mean square).
            Errors may cancel, so shares need not sum to 1.
    """

    operator: str
    node: str
    path: str
    source: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """What was found.

    Attributes:
        name: Of the model.
        graph: File of the graph.
        rows: Golden rows that it was run on.
        passed: Whether every output keeps the rule.
        output: What is wrong with the outputs, or None.
        culprit: The operator to blame, or None.
        weights: Tensors of the graph that are not those of state_dict.pt.
        nodes: Every value that was compared, in order.
        place: Where among the nodes the culprit shows, or None.
        unpaired: Nodes that are no operation of PyTorch's.
        precision: What the graph computes in. In less than float32, it is held to no rule, and nobody is blamed.
        costs: Of such a graph, what single operators cost, the costliest first.
    """

    name: str
    graph: str
    rows: int
    passed: bool
    output: str | None
    culprit: Culprit | None
    weights: tuple[WeightDifference, ...]
    nodes: tuple[Node, ...]
    place: int | None
    unpaired: tuple[str, ...]
    precision: Precision = "float32"
    costs: tuple[Cost, ...] = ()
