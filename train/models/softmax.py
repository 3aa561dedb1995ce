"""Softmax regression on images: one linear layer, written by hand and from torch's own parts. Both return logits."""

import torch
from torch import Tensor, nn


class SoftmaxScratch(nn.Module):
    """Softmax regression as a matrix, a vector and a product, N(0, 0.01) and zeros to begin with.

    Args:
        channels: Channels of the image.
        height: Rows of the image.
        width: Columns of the image.
        classes: How many classes there are.

    Shape:
        ``(batch, channels, height, width)`` in, logits ``(batch, classes)`` out.

    Source: notes 000-002, S-SOFTMAX-SCRATCH, which return probabilities; the loss and the graph take logits here.
    """

    def __init__(self, *, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.normal(0, 0.01, size=(channels * height * width, classes)))
        self.b = nn.Parameter(torch.zeros(classes))

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        return torch.matmul(pixels.flatten(1), self.W) + self.b


def softmax_regression(*, channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Build softmax regression from torch's own layers: images in, logits out.

    Source: notes 000-002, S-SOFTMAX-CONCISE.
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))
