"""The float64 reference that float32 results are judged by."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from export.shared_weights import copy_sharing_weights, copy_whole

WHOLE_BYTES = 100_000_000
"""Most bytes of weights that are turned to float64 all at once, which is fastest; of more, each where it is used."""


class _Float64(TorchFunctionMode):
    """Compute in float64 where forward names float32, as ``x.float()`` and ``torch.zeros(rows, hidden)`` do.

    A network that was turned to float64 by ``.double()`` would fail there: the dtypes of a product must be the same.

    Args:
        narrow: Weights that are still float32, by `id`. Whatever is asked of one is asked of its float64 copy, which
            goes again at once, so that the network looks as if it were float64 throughout.
    """

    def __init__(self, narrow: dict[int, Tensor]) -> None:
        super().__init__()
        self._narrow = narrow

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        result = func(*(self.wide(value) for value in args), **{k: self.wide(v) for k, v in (kwargs or {}).items()})
        if isinstance(result, Tensor) and result.dtype == torch.float32:
            return torch.Tensor.double(result)
        return result

    def wide(self, value: Any) -> Any:  # noqa: ANN401 - whatever operations are given
        """Return what stands for a value in float64."""
        if value is torch.float32:
            return torch.float64
        if self._narrow:
            if id(value) in self._narrow:
                return torch.Tensor.double(value)
            if type(value) in {tuple, list}:
                return type(value)(self.wide(item) for item in value)
            if type(value) is dict:
                return {key: self.wide(item) for key, item in value.items()}
        return value


class _Reference(nn.Module):
    def __init__(self, module: nn.Module, narrow: dict[int, Tensor]) -> None:
        super().__init__()
        self.module = module
        self._narrow = narrow

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - whatever the module returns
        """Run one batch."""
        mode = _Float64(self._narrow)
        with mode:
            results = self.module(*inputs)
        return mode.wide(results)


def to_float64(module: nn.Module, *, whole_bytes: int = WHOLE_BYTES) -> nn.Module:
    """Return a copy of the module that computes in float64.

    Args:
        module: In evaluation mode, with weights in float32; it is not changed.
        whole_bytes: Most bytes of weights that the copy holds twice as wide. Of a larger module it shares them, and
            gives the same bits.
    """
    scripted = any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())
    if scripted or sum(tensor.nbytes for tensor in module.parameters()) <= whole_bytes:
        return _Reference(copy_whole(module).double(), {}).eval()
    # what else it holds is copied: a table that forward keeps, say, must not come from a run in float32
    shared = copy_sharing_weights(module)
    tensors = (*shared.parameters(), *shared.buffers())
    return _Reference(shared, {id(tensor): tensor for tensor in tensors if tensor.is_floating_point()}).eval()
