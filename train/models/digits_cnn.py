"""A small convolutional network for 8x8 digits, with dropout."""

from torch import Tensor, nn


class DigitsCNN(nn.Module):
    """Three convolutions, one pooling, two linear layers with dropout between them.

    Args:
        height: Rows of the image, even.
        width: Columns of the image, even.
        hidden_units: Channels of the first convolution; the others have twice as many.
        classes: How many classes there are.
        dropout: Share of features set to zero in training, in [0, 1).

    Shape:
        ``(batch, 1, height, width)`` in, logits ``(batch, classes)`` out.
    """

    def __init__(self, *, height: int, width: int, hidden_units: int, classes: int, dropout: float) -> None:
        super().__init__()
        if height % 2 or width % 2 or not height or not width:
            raise ValueError(f"image size is {height}x{width}, but both sides must be even: a pooling halves them")
        self.features = nn.Sequential(
            nn.Conv2d(1, hidden_units, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden_units, 2 * hidden_units, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2),
            nn.Conv2d(2 * hidden_units, 2 * hidden_units, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * hidden_units * (height // 2) * (width // 2), 2 * hidden_units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * hidden_units, classes),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        logits: Tensor = self.classifier(self.features(pixels))
        return logits
