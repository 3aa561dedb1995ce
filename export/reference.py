"""The float64 reference that float32 results are judged by."""

from typing import Any

import torch
from torch import Tensor, nn

from export.float64_mode import Float64, Float64Operators, widen
from export.shared_weights import copy_sharing_weights, copy_whole

WHOLE_BYTES = 100_000_000
"""Most bytes of weights that are turned to float64 all at once, which is fastest; of more, each where it is used."""


class Reference(nn.Module):
    """A module that computes in float64 whatever its forward says; see `Float64`.

    Attributes:
        float32_operators: Names of those that have no float64, as far as they have run.
    """

    def __init__(self, module: nn.Module, *, scripted: bool) -> None:
        super().__init__()
        self.module = module
        self.float32_operators: set[str] = set()
        self._scripted = scripted

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - whatever the module returns
        """Run one batch."""
        with Float64(self.float32_operators):
            if not self._scripted:
                return widen(self.module(*inputs))
            with Float64Operators():  # type: ignore[no-untyped-call]
                return widen(self.module(*inputs))


def to_float64(module: nn.Module, *, whole_bytes: int = WHOLE_BYTES) -> Reference:
    """Return a copy of the module that computes in float64.

    Args:
        module: In evaluation mode, with weights in float32; it is not changed.
        whole_bytes: Most bytes of weights that the copy holds twice as wide. Of a larger module it shares them, and
            gives the same bits.
    """
    scripted = any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())
    small = sum(tensor.nbytes for tensor in module.parameters()) <= whole_bytes
    # else, too, all but the weights is copied: a table that forward keeps, say, must not come from a run in float32
    copied = copy_whole(module).double() if scripted or small else copy_sharing_weights(module)
    reference = Reference(copied, scripted=scripted)
    reference.eval()
    return reference
