"""TinyVGG: two blocks of two convolutions, then one linear layer."""

from torch import Tensor, nn


class TinyVGG(nn.Module):
    """The small convolutional network of the source notes.

    Args:
        channels: Channels of the image.
        height: Rows of the image, a multiple of 4.
        width: Columns of the image, a multiple of 4.
        hidden_units: Channels of every convolution.
        classes: How many classes there are.

    Shape:
        ``(batch, channels, height, width)`` in, logits ``(batch, classes)`` out.

    Source: notes 003, S10.
    """

    def __init__(self, *, channels: int, height: int, width: int, hidden_units: int, classes: int) -> None:
        super().__init__()
        if height % 4 or width % 4 or not height or not width:
            raise ValueError(
                f"image size is {height}x{width}, but both sides must be multiples of 4: two poolings halve them"
            )
        self.block_1 = _block(channels, hidden_units)
        self.block_2 = _block(hidden_units, hidden_units)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(hidden_units * (height // 4) * (width // 4), classes))

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        logits: Tensor = self.classifier(self.block_2(self.block_1(pixels)))
        return logits


def _block(channels: int, hidden_units: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden_units, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(hidden_units, hidden_units, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
    )
