"""The first layer of a model that takes its tensors as they are: nothing, but for the reference's float64."""

import torch
from torch import Tensor, nn


class TensorInput(nn.Module):
    """Hand a tensor through; float32 becomes float64 after ``.double()``, as it does in every other input module.

    Shape:
        ``(batch, …)`` of any dtype in, the same out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.anchor: Tensor
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def forward(self, tensor: Tensor) -> Tensor:
        """Convert one batch."""
        return tensor.to(self.anchor.dtype) if tensor.dtype == torch.float32 else tensor
