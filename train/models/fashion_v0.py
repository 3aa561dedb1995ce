"""The linear baseline of the clothes: two linear layers, nothing between them."""

from torch import Tensor, nn


class FashionV0(nn.Module):
    """Two linear layers in a row, which is still a linear map.

    Args:
        channels: Channels of the image.
        height: Rows of the image.
        width: Columns of the image.
        hidden_units: Outputs of the first layer.
        classes: How many classes there are.

    Shape:
        ``(batch, channels, height, width)`` in, logits ``(batch, classes)`` out.

    Source: notes 003, S8.
    """

    def __init__(self, *, channels: int, height: int, width: int, hidden_units: int, classes: int) -> None:
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * width, hidden_units),
            nn.Linear(hidden_units, classes),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        logits: Tensor = self.layer_stack(pixels)
        return logits
