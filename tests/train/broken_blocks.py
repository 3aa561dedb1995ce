"""The blocks with the faults the notes have: traps that export must refuse, or that parity must tell."""

import torch
from torch import Tensor, nn

from train.models.blocks import Nested


class LoopOnData(nn.Module):
    """Halves the whole batch in a loop that depends on the data, and sums all rows to one number."""

    def __init__(self, *, features: int = 20) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)
        self.rand_weight = torch.rand(features, features)  # no buffer: neither saved nor moved

    def hidden(self, rows: Tensor) -> Tensor:
        return self.linear(torch.relu(torch.mm(self.linear(rows), self.rand_weight.to(rows.dtype)) + 1))

    def forward(self, rows: Tensor) -> Tensor:
        rows = self.hidden(rows)
        while rows.abs().sum() > 1:
            rows = rows / 2
        return rows.sum()


class LoopPerBatch(LoopOnData):
    """The same loop, but one number per row, so that only the loop is at fault."""

    def forward(self, rows: Tensor) -> Tensor:
        rows = self.hidden(rows)
        while rows.abs().sum() > 1:
            rows = rows / 2
        return rows.sum(dim=1, keepdim=True)


def broken_chimera() -> nn.Sequential:
    return nn.Sequential(Nested(features=20), nn.Linear(16, 20), LoopPerBatch())


class ListSequential(nn.Module):
    """Keeps its modules in a plain list, where nobody finds them."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.layers = list(modules)

    def forward(self, rows: Tensor) -> Tensor:
        for layer in self.layers:
            rows = layer(rows)
        return rows


class DataLinear(nn.Module):
    """Reads its weights through ``.data``, which cuts them off from the gradient."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, outputs))
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, rows: Tensor) -> Tensor:
        return torch.relu(torch.matmul(rows, self.weight.data) + self.bias.data)


def aliased_regular_net() -> nn.Sequential:
    """Means four blocks, but registers one block four times."""
    block = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())
    blocks = nn.Sequential()
    for index in range(4):
        blocks.add_module(f"block {index}", block)
    return nn.Sequential(blocks, nn.Linear(4, 1))
