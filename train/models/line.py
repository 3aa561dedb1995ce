"""Straight lines: from two bare parameters, and from a linear layer."""

import torch
from torch import Tensor, nn


class LineParameters(nn.Module):
    """A line whose slope and intercept are bare parameters.

    Shape:
        ``(batch, 1)`` in, ``(batch, 1)`` out.

    Source: notes 003, S1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(1))
        self.bias = nn.Parameter(torch.randn(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the predictions of one batch."""
        return self.weights * inputs + self.bias


class LineLinear(nn.Module):
    """The same line from one linear layer.

    Shape:
        ``(batch, 1)`` in, ``(batch, 1)`` out.

    Source: notes 003, S2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the predictions of one batch."""
        predictions: Tensor = self.linear_layer(inputs)
        return predictions
