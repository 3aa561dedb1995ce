"""The float64 reference that float32 results are judged by."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class _Float64(TorchFunctionMode):
    """Compute in float64 where forward names float32, as ``x.float()`` and ``torch.zeros(rows, hidden)`` do.

    A network that was turned to float64 by ``.double()`` would fail there: the dtypes of a product must be the same.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        result = func(*(_wide(value) for value in args), **{key: _wide(value) for key, value in (kwargs or {}).items()})
        if isinstance(result, Tensor) and result.dtype == torch.float32:
            return torch.Tensor.double(result)
        return result


def _wide(value: object) -> object:
    return torch.float64 if value is torch.float32 else value


class _Reference(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - whatever the module returns
        """Run one batch."""
        with _Float64():
            return self.module(*inputs)


def to_float64(module: nn.Module) -> nn.Module:
    """Return a copy of the module that computes in float64."""
    return _Reference(copy.deepcopy(module).double()).eval()
