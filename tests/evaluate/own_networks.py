"""Networks as users have them: several inputs, several outputs, none of them a recipe's."""

import torch
from torch import Tensor, nn


class TwoInputs(nn.Module):
    """Five words and a grid of numbers in, three logits out."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.words = nn.Embedding(20, width)
        self.numbers = nn.Linear(6, width)
        self.dropout = nn.Dropout(0.3)
        self.last = nn.Linear(width, 3)

    def forward(self, tokens: Tensor, grid: Tensor) -> Tensor:
        """Run one batch."""
        hidden = torch.tanh(self.words(tokens).mean(dim=1) + self.numbers(grid.flatten(1)))
        return self.last(self.dropout(hidden))


class TwoOutputs(nn.Module):
    """A signal in, its frames and their mean out."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(2, 4, 3, padding=1)

    def forward(self, signal: Tensor) -> dict[str, Tensor]:
        """Run one batch."""
        frames = torch.relu(self.frames(signal))
        return {"frames": frames, "mean": frames.mean(dim=2)}


class RootOfSignal(nn.Module):
    """Takes roots, so that noise below zero has no finite answer."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, size: Tensor) -> Tensor:
        """Run one batch."""
        return self.last(torch.sqrt(size).flatten(1))
