"""A graph of reduced precision: no rule holds it to float32, but some operators cost it far more than others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluate.blame.culprit import MOST_SUSPECTS
from evaluate.blame.follow import Point, changed_outputs
from evaluate.blame.found import Cost
from evaluate.blame.pairs import Pair
from evaluate.blame.steps import Graph, Step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Widened:
    """A graph whose values in float16 are read as float32, which holds them exactly."""

    graph: Graph

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.graph.name

    @property
    def steps(self) -> tuple[Step, ...]:
        """All nodes, in the order in which they run."""
        return self.graph.steps

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values that are the graph's outputs."""
        return self.graph.outputs

    def values(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Run the graph and return some of its values."""
        found = self.graph.values(names)
        return {
            name: values.astype(np.float32) if values.dtype == np.float16 else values for name, values in found.items()
        }


def costs_of(
    pair: Pair,
    feeds: Mapping[str, Tensor],
    points: Sequence[Point],
    *,
    written: Sequence[NDArray[Any]],
    outputs: Sequence[Tensor],
    on_step: Callable[[str], None],
) -> tuple[Cost, ...]:
    """Return what the own error of single operators does to the outputs, the costliest first.

    Args:
        pair: The graph and its reference.
        feeds: One tensor per input of the program.
        points: Every comparison, in order.
        written: Outputs of the graph.
        outputs: Those of the program in float64.
        on_step: Told what is being done.
    """
    whole = [_rms(torch.from_numpy(found) - right) for found, right in zip(written, outputs, strict=True)]
    suspects = sorted((point for point in points if point.delta is not None), key=lambda point: -point.own.ratio)
    costs = []
    for point in suspects[:MOST_SUSPECTS]:
        on_step(f"what the error of {point.line.name} does to the outputs")
        moved = changed_outputs(pair.reference.program, feeds, point)
        shares = [
            _rms(found - right) / error
            for found, right, error in zip(moved, outputs, whole, strict=True)
            if error > 0 and right.is_floating_point()
        ]
        if shares:
            costs.append(_cost(point, pair, max(shares)))
    return tuple(sorted(costs, key=lambda cost: -cost.share))


def _cost(point: Point, pair: Pair, share: float) -> Cost:
    step = pair.graph.steps[pair.alignment.steps_of[point.line.name][-1]]
    return Cost(operator=step.operator, node=step.name, path=point.line.path, source=point.line.source, share=share)


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
