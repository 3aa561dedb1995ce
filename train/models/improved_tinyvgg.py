"""A TinyVGG with wider layers and dropout, for images of any size."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ImprovedTinyVGG(nn.Module):
    """Two convolutions, each with ReLU and pooling, then a hidden layer with dropout.

    Args:
        channels: Channels of the image.
        height: Rows of the image, a multiple of 4.
        width: Columns of the image, a multiple of 4.
        hidden_units: Channels of the first convolution; the second has twice as many.
        classes: How many classes there are.
        dropout: Share of the hidden layer set to zero in training, in [0, 1).

    Shape:
        ``(batch, channels, height, width)`` in, logits ``(batch, classes)`` out.

    Source: notes 003, S13, whose first linear layer fits 32x32 alone; here its width follows from the image's size.
    """

    def __init__(
        self, *, channels: int, height: int, width: int, hidden_units: int, classes: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if height % 4 or width % 4 or not height or not width:
            raise ValueError(
                f"image size is {height}x{width}, but both sides must be multiples of 4: two poolings halve them"
            )
        self.conv1 = nn.Conv2d(channels, hidden_units, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(hidden_units, 2 * hidden_units, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(2 * hidden_units * (height // 4) * (width // 4), 256)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(256, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        half = functional.max_pool2d(torch.relu(self.conv1(pixels)), kernel_size=2)
        quarter = functional.max_pool2d(torch.relu(self.conv2(half)), kernel_size=2)
        logits: Tensor = self.fc2(self.dropout(torch.relu(self.fc1(quarter.flatten(1)))))
        return logits
