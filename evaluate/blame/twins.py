"""A graph beside one that was exported anew: what the same nodes do otherwise, without running either."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.blame.steps import Step
from evaluate.blame.weights import same_weights

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """One step that is not as it is exported anew.

    Attributes:
        step: In the graph under test; or in the other, where only that has it.
        missing: Whether only the other has it.
        sentence: What is otherwise.
        rewired: Whether it is what it reads.
    """

    step: Step
    missing: bool
    sentence: str
    rewired: bool = False


def first_unlike(own: Sequence[Step], twins: Sequence[Step], *, graph: Weights, expected: Weights) -> Unlike | None:
    """Return the first of an operation's steps that is not like its twin; None where all are.

    Args:
        own: Steps of one operation in the graph under test.
        twins: The same of the one exported anew.
        graph: Weights and constants of the graph under test.
        expected: Those of the other.
    """
    if len(own) == len(twins):
        for step, twin in zip(own, twins, strict=True):
            sentence = _unlike(step, twin, graph, expected)
            rewired = sentence is None and _wiring(step, own) != _wiring(twin, twins)
            if rewired:
                sentence = "it reads other values, or in another order, than where it is exported anew"
            if sentence is not None:
                return Unlike(step=step, missing=False, sentence=sentence, rewired=rewired)
        return None
    matcher = SequenceMatcher(None, [s.operator for s in own], [s.operator for s in twins], autojunk=False)
    for tag, start, _, other, _ in matcher.get_opcodes():
        if tag in {"delete", "replace"}:
            return Unlike(step=own[start], missing=False, sentence="where it is exported anew, there is none such")
        if tag == "insert":
            return Unlike(step=twins[other], missing=True, sentence="where it is exported anew, it is there")
    return None


def _wiring(step: Step, group: Sequence[Step]) -> tuple[object, ...]:
    """Return where a step's inputs are from: which step of the same operation, or from outside of it."""
    made = {value: (place, index) for place, other in enumerate(group) for index, value in enumerate(other.outputs)}
    return tuple(made.get(name) for name in step.inputs)


def _unlike(step: Step, twin: Step, graph: Weights, expected: Weights) -> str | None:
    if step.operator != twin.operator:
        return f"it is {step.operator}, but exporting anew gives {twin.operator}"
    found, wanted = dict(step.settings), dict(twin.settings)
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            return (
                f"{name} is {found.get(name, 'missing')}, but {wanted.get(name, 'missing')} where it is exported anew"
            )
    if len(step.weights) != len(twin.weights):
        return f"it reads {len(step.weights)} weights and constants, but {len(twin.weights)} where it is exported anew"
    for name, other in zip(step.weights, twin.weights, strict=True):
        if name in graph and other in expected and not same_weights(graph[name], expected[other]):
            if np.size(expected[other]) <= 8:
                return f"{name} is {_list(graph[name])}, but {_list(expected[other])} where it is exported anew"
            return f"{name} has other values than where it is exported anew"
    return None


def _list(values: NDArray[Any]) -> str:
    return np.array2string(values, precision=6, separator=", ")
