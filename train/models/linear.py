"""Linear networks: one layer written out by hand, and stacks of linear layers with nothing between them."""

import itertools

import torch
from torch import Tensor, nn


class LinearScratch(nn.Module):
    """Linear regression written out: a product with the weights, plus the bias.

    The weights begin at N(0, 0.01), the bias at 0.

    Args:
        features: Columns of the table.

    Shape:
        ``(batch, features)`` in, ``(batch, 1)`` out.

    Source: notes 000-002, S-LINREG-SCRATCH.
    """

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.normal(0, 0.01, size=(features, 1)))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the predictions of one batch."""
        return torch.matmul(inputs, self.weights) + self.bias


def linear_stack(*, features: int, hidden_layers: int, hidden_units: int, outputs: int) -> nn.Sequential:
    """Return linear layers one after the other, without activations: together still one straight line or plane.

    Args:
        features: Columns of the table.
        hidden_layers: How many layers stand before the last one; at least 0.
        hidden_units: Width of each of them.
        outputs: Width of the last layer.

    Raises:
        ValueError: a number of layers below 0.

    Source: notes 003, S3 and S5; notes 000-002, S-LINREG-CONCISE and S-WEIGHT-DECAY.
    """
    if hidden_layers < 0:
        raise ValueError(f"hidden_layers is {hidden_layers}, but at least 0 was expected; give 0 for a single layer")
    widths = [features, *[hidden_units] * hidden_layers, outputs]
    return nn.Sequential(*[nn.Linear(width, following) for width, following in itertools.pairwise(widths)])
