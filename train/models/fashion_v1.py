"""The baseline of the clothes with ReLU after each layer, the last one too."""

from torch import Tensor, nn


class FashionV1(nn.Module):
    """Two linear layers, each followed by ReLU.

    The second ReLU cuts logits off at zero, so that a class with none above it learns nothing from that row. It stays,
    because the notes' figures are those of a network that has it.

    Args:
        channels: Channels of the image.
        height: Rows of the image.
        width: Columns of the image.
        hidden_units: Outputs of the first layer.
        classes: How many classes there are.

    Shape:
        ``(batch, channels, height, width)`` in, logits ``(batch, classes)`` of at least 0 out.

    Source: notes 003, S9.
    """

    def __init__(self, *, channels: int, height: int, width: int, hidden_units: int, classes: int) -> None:
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * width, hidden_units),
            nn.ReLU(),
            nn.Linear(hidden_units, classes),
            nn.ReLU(),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        logits: Tensor = self.layer_stack(pixels)
        return logits
