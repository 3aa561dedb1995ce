"""The float64 reference that float32 results are judged by."""

import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from export.float64_mode import Float64, Float64Operators, widen
from export.shared_weights import copy_sharing_weights, copy_whole

WHOLE_BYTES = 100_000_000
"""Most bytes of weights that are turned to float64 all at once, which is fastest; of more, each where it is used."""


_LOCK = threading.RLock()


class Reference(nn.Module):
    """A module that computes in float64 whatever its forward says; see `Float64`.

    While it runs, torch's default dtype is float64 in every operator, and that is one for the whole process: two
    references take turns, but whatever else runs in another thread meanwhile may find it so.

    Attributes:
        float32_operators: Names of those that have no float64, as far as they have run.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.float32_operators: set[str] = set()

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - whatever the module returns
        """Run one batch."""
        wide = widen(inputs)  # else what forward writes into them would be rounded
        operators = Float64Operators(self.float32_operators)
        with _LOCK, Float64(operators), operators:
            return widen(self.module(*wide))


def to_float64(module: nn.Module, *, whole_bytes: int = WHOLE_BYTES) -> Reference:
    """Return a copy of the module that computes in float64.

    Args:
        module: In evaluation mode, with weights in float32; it is not changed.
        whole_bytes: Most bytes of weights that the copy holds twice as wide. Of a larger module it shares them, and
            gives the same bits.
    """
    scripted = any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())
    small = sum(tensor.nbytes for tensor in module.parameters()) <= whole_bytes
    with _WidenedCopies():
        # else, too, all but the weights is copied: a table that forward keeps, say, must not come from float32
        copied = copy_whole(module) if scripted or small else copy_sharing_weights(module)
    reference = Reference(copied.double() if scripted or small else copied)
    reference.eval()
    return reference


class _WidenedCopies(TorchFunctionMode):
    """Widens tensors as they are copied with what holds them, so that forward can write into them in float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        return widen(result) if func is Tensor.__deepcopy__ else result
