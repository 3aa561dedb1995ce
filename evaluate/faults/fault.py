"""What a fault is: a kind, where it is planted, and the function that plants it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluate.faults.subjects import Subject, build_module

Family = Literal["input", "weights", "layer", "output", "batch", "graph", "bundle", "variant", "coarse"]
State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What a fault may look at when it is planted.

    Attributes:
        subject: The architecture.
        samples: Its samples.
        scale: Of its outputs.
        seed: Of its weights.
        largest: Greatest value of the first output over the samples.
        rng: Chooses which weight, which node.
    """

    subject: Subject
    samples: dict[str, NDArray[Any]]
    scale: float
    seed: int
    largest: float
    rng: np.random.Generator

    @cached_property
    def stale(self) -> nn.Module:
        """The same architecture with the weights of another training."""
        return build_module(self.subject, self.samples, scale=self.scale, seed=self.seed + 1000)


Plant = Callable[[nn.Module, Context], nn.Module | None]
Spoil = Callable[[State, Context], State | None]
Edit = Callable[[onnx.ModelProto, Context], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFault:
    """A fault in the module that is exported.

    Attributes:
        kind: What is wrong, in words.
        family: What it is a fault of.
        plant: Takes a copy of the right module, and returns the wrong one; None where there is nothing to spoil.
    """

    kind: str
    family: Family
    plant: Plant


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFault:
    """A fault in the weights; `spoil` takes a copy of the state dict, and returns it spoilt, or None."""

    kind: str
    spoil: Spoil


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFault:
    """A fault in the ONNX graph; `edit` changes it in place, and returns whether there was anything to change."""

    kind: str
    edit: Edit
