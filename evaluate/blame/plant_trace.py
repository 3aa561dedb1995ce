"""Faults planted into a module before it is traced, each with the path of the module that must be named."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlantedModule:
    """A wrong module.

    Attributes:
        fault: What was planted, and where.
        module: In evaluation mode, to be traced.
        path: Of the module that is wrong.
    """

    fault: str
    module: nn.Module
    path: str


def plant_modules(module: nn.Module) -> Iterator[PlantedModule]:
    """Plant every fault that a module has a place for, one at a time."""
    for path, part in module.named_modules():
        for fault, plant in _PLANTS.items():
            spoilt = copy.deepcopy(module)
            other = plant(copy.deepcopy(part)) if path else None
            if other is None:
                continue
            spoilt.set_submodule(path, other)
            yield PlantedModule(
                fault=f"{fault} at {type(part).__name__} {path}",
                module=spoilt.eval(),
                path=path,
            )


def _scale_weight(part: nn.Module) -> nn.Module | None:
    if not isinstance(part, (nn.Linear, nn.Conv2d)) or isinstance(part, _INSIDE):
        return None
    with torch.no_grad():
        part.weight.view(-1)[part.weight.abs().argmax()] *= 1.05
    return part


def _drop_bias(part: nn.Module) -> nn.Module | None:
    if not isinstance(part, (nn.Linear, nn.Conv2d)) or isinstance(part, _INSIDE):
        return None
    part.bias = None
    return part


def _epsilon(part: nn.Module) -> nn.Module | None:
    if not isinstance(part, (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)):
        return None
    part.eps = 1e-3
    return part


def _activation(part: nn.Module) -> nn.Module | None:
    others = {nn.GELU: nn.GELU(approximate="tanh"), nn.Tanh: nn.Softsign(), nn.SiLU: nn.Hardswish(), nn.ELU: nn.SELU()}
    return others.get(type(part), nn.GELU() if type(part) is nn.ReLU else None)


def _padding(part: nn.Module) -> nn.Module | None:
    if isinstance(part, nn.Conv2d) and part.padding_mode == "reflect":
        part.padding_mode = "replicate"
        return part
    if isinstance(part, nn.AvgPool2d):
        part.count_include_pad = False
        return part
    return None


def _half(part: nn.Module) -> nn.Module | None:
    return Halved(part) if isinstance(part, (nn.Linear, nn.Conv2d)) and not isinstance(part, _INSIDE) else None


class Halved(nn.Module):
    """A module whose result goes through float16."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, inputs: Tensor) -> Tensor:
        """Run one batch."""
        result: Tensor = self.part(inputs).half().float()
        return result


_INSIDE = nn.modules.linear.NonDynamicallyQuantizableLinear  # its weights are read, but it is never called
_PLANTS: dict[str, Callable[[nn.Module], nn.Module | None]] = {
    "one weight +5 %": _scale_weight,
    "bias dropped": _drop_bias,
    "epsilon 1e-3": _epsilon,
    "another activation": _activation,
    "other padding": _padding,
    "value through float16": _half,
}
