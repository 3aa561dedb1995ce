"""Weights of a graph beside those of state_dict.pt: equal, or which tensor differs and by how much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.blame.align import Alignment
from evaluate.blame.steps import Step

_ROUNDING = 4.0  # units in the last place that folding one layer into another may round otherwise

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDifference:
    """A tensor of the graph that is not what state_dict.pt gives.

    Attributes:
        tensor: Its name in state_dict.pt, or in the graph where it is made of several.
        initializer: Its name in the graph.
        values: How many values it has.
        differing: How many of them differ.
        max_difference: Greatest absolute difference, or None where the shapes or dtypes are others.
        nodes: Names of the nodes that read it.
    """

    tensor: str
    initializer: str
    values: int
    differing: int
    max_difference: float | None
    nodes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What was found, for a person."""
        if self.max_difference is None:
            return f"{self.tensor} is of another shape or dtype in the graph than in state_dict.pt"
        return (
            f"{self.tensor} differs from state_dict.pt in {self.differing} of {self.values} values, "
            f"by at most {self.max_difference:.3g}"
        )


def compare_onnx_weights(
    steps: Sequence[Step],
    alignment: Alignment,
    twins: Mapping[str, Sequence[Step]],
    *,
    graph: Weights,
    expected: Weights,
    state: Weights,
) -> tuple[WeightDifference, ...]:
    """Compare what the nodes of a graph read with what those of a graph exported anew from state_dict.pt do.

    Args:
        steps: Of the graph under test.
        alignment: Steps under test, paired.
        twins: Of the one exported anew, which holds transposed and folded weights alike, by operation.
        graph: Initializers of the graph under test.
        expected: Initializers of the other.
        state: The tensors of state_dict.pt, to call a transposed one by its name there.
    """
    found: dict[str, WeightDifference] = {}
    for line, places in alignment.steps_of.items():
        for index in places:
            step = steps[index]
            alike = [twin for twin in twins.get(line, ()) if twin.operator == step.operator]
            order = [steps[place].operator for place in places if place < index].count(step.operator)
            if order >= len(alike) or len(alike[order].weights) != len(step.weights):
                continue
            for name, twin in zip(step.weights, alike[order].weights, strict=True):
                if name in graph and twin in expected and expected[twin].dtype.kind == "f":
                    difference = _compare(graph[name], expected[twin], twin, name, step.name, state)
                    if difference is not None:
                        found.setdefault(name, difference)
    return tuple(found.values())


def compare_states(found: Weights, expected: Weights) -> tuple[WeightDifference, ...]:
    """Compare the state of a TorchScript graph with state_dict.pt, name by name."""
    differences = [
        _compare(found[name], values, name, name, "", {}) for name, values in expected.items() if name in found
    ]
    return tuple(difference for difference in differences if difference is not None)


def _compare(
    found: NDArray[Any], expected: NDArray[Any], twin: str, name: str, node: str, state: Weights
) -> WeightDifference | None:
    tensor = _name_in(state, expected, twin)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return WeightDifference(
            tensor=tensor,
            initializer=name,
            values=expected.size,
            differing=expected.size,
            max_difference=None,
            nodes=(node,),
        )
    if np.array_equal(found, expected, equal_nan=True):
        return None
    difference = _differences(found, expected, exact=tensor in state)
    differing = int((~(difference == 0)).sum())
    if not differing:
        return None
    return WeightDifference(
        tensor=tensor,
        initializer=name,
        values=expected.size,
        differing=differing,
        max_difference=float(difference.max()),
        nodes=(node,),
    )


def same_weights(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Return whether two tensors are the same, but for what folding one layer into another may round otherwise."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    return not _differences(found, expected, exact=False).any()


def _differences(found: NDArray[Any], expected: NDArray[Any], *, exact: bool) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    difference[(found == expected) | (np.isnan(found.astype(np.float64)) & np.isnan(expected.astype(np.float64)))] = 0
    if expected.dtype.kind == "f" and not exact:
        finite = np.abs(expected[np.isfinite(expected)])
        scale = float(finite.max(initial=0))
        difference[difference <= _ROUNDING * float(np.spacing(np.float32(scale)))] = 0
    return difference


def _name_in(state: Weights, values: NDArray[Any], name: str) -> str:
    """Return what state_dict.pt calls a tensor that a graph holds, transposed maybe; else its name in the graph."""
    for key, own in state.items():
        if own.shape == values.shape and np.array_equal(own, values):
            return key
        if own.ndim == 2 and own.T.shape == values.shape and np.array_equal(own.T, values):
            return key
    return f"{name} (made of several tensors)" if name in state else name
