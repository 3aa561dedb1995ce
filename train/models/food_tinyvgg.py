"""TinyVGG under the names it has for food: the same network as `train.models.tinyvgg`, other keys of the state dict."""

from torch import Tensor, nn

from train.models.tinyvgg import TinyVGG


class FoodTinyVGG(nn.Module):
    """TinyVGG whose blocks are called ``conv_block_1`` and ``conv_block_2``.

    Args:
        channels: Channels of the image.
        height: Rows of the image, a multiple of 4.
        width: Columns of the image, a multiple of 4.
        hidden_units: Channels of every convolution.
        classes: How many classes there are.

    Shape:
        ``(batch, channels, height, width)`` in, logits ``(batch, classes)`` out.

    Source: notes 003, S11 and S12.
    """

    def __init__(self, *, channels: int, height: int, width: int, hidden_units: int, classes: int) -> None:
        super().__init__()
        parts = TinyVGG(channels=channels, height=height, width=width, hidden_units=hidden_units, classes=classes)
        self.conv_block_1 = parts.block_1
        self.conv_block_2 = parts.block_2
        self.classifier = parts.classifier

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        logits: Tensor = self.classifier(self.conv_block_2(self.conv_block_1(pixels)))
        return logits
