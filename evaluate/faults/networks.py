"""Networks of every kind that faults are planted in, small enough to judge by the hundred."""

import math

import torch
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Convolutions, batch normalisation, average pooling with padding, bilinear enlargement, dropout.

    Shape:
        ``(batch, 3, 16, 16)`` in, logits ``(batch, classes)`` out.
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AvgPool2d(3, stride=2, padding=1),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 8 * 8, classes))

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        logits: Tensor = self.classifier(self.features(pixels))
        return logits


class Attention(nn.Module):
    """Self-attention of several heads, written out so that each of its steps can go wrong.

    Attributes:
        scale: Multiplies the scores.
        axis: Of the softmax.
        merge: Whether heads are brought back beside their tokens before they are joined.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.joint = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.scale = 1 / math.sqrt(width // heads)
        self.axis = -1
        self.merge = True

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend, ``(batch, tokens, width)`` in and out."""
        length, width = tokens.shape[1], tokens.shape[2]
        query, key, value = (
            part.reshape(-1, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.joint(tokens).split(width, dim=2)
        )
        weights = torch.softmax(query @ key.transpose(2, 3) * self.scale, dim=self.axis)
        mixed = weights @ value
        if self.merge:
            mixed = mixed.transpose(1, 2)
        out: Tensor = self.out(mixed.reshape(-1, length, width))
        return out


class Block(nn.Module):
    """Attention and a perceptron, each behind a layer normalisation and beside a way past it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_2 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Run one block."""
        tokens = tokens + self.attention(self.norm_1(tokens))
        out: Tensor = tokens + self.perceptron(self.norm_2(tokens))
        return out


class Transformer(nn.Module):
    """A small vision transformer: patches, learnt positions, two blocks, mean over the tokens.

    Shape:
        ``(batch, 3, 16, 16)`` in, logits ``(batch, classes)`` out.
    """

    def __init__(self, *, classes: int, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.positions = nn.Parameter(0.2 * torch.randn(1, 16, width))
        self.blocks = nn.Sequential(Block(width, heads), Block(width, heads))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)
        self.last = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        tokens = self.patches(pixels).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.last(self.dropout(self.norm(self.blocks(tokens)).mean(dim=1)))
        return logits


class Branch(nn.Module):
    """Takes the logarithm of rows that hold a large number, and leaves the others as they are.

    Attributes:
        baked: What a trace of one example keeps of the decision: None, or the side that all rows then take.
    """

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.baked: bool | None = None

    def forward(self, columns: Tensor) -> Tensor:
        """Treat each row by its largest number."""
        small = torch.sign(columns) * torch.log1p(columns.abs())
        if self.baked is not None:
            return small if self.baked else columns
        return torch.where(columns.abs().amax(dim=1, keepdim=True) > self.limit, small, columns)


class TableNet(nn.Module):
    """A perceptron with layer normalisation behind a branch that treats rows of large numbers in another way.

    Shape:
        ``(batch, columns)`` in, predictions ``(batch, targets)`` out.
    """

    def __init__(self, *, columns: int, targets: int) -> None:
        super().__init__()
        self.branch = Branch(6.0)
        self.layers = nn.Sequential(
            nn.Linear(columns, 32),
            nn.LayerNorm(32),
            nn.Tanh(),
            nn.Linear(32, 32),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(32, targets),
        )

    def forward(self, columns: Tensor) -> Tensor:
        """Compute the predictions of one batch."""
        prediction: Tensor = self.layers(self.branch(columns))
        return prediction
