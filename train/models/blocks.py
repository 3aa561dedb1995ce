"""Building blocks of the notes, written so that they train, save, export and answer each row for itself."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

HALVINGS = 127  # float32 knows no sum of 2**128 or more


class Perceptron(nn.Module):
    """A perceptron of one hidden layer, as a class.

    Shape:
        ``(batch, features)`` in, ``(batch, outputs)`` out.

    Source: notes 000-002, S-MLP-CLASS and S-IO-MLP.
    """

    def __init__(self, *, features: int, hidden_units: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden_units)
        self.out = nn.Linear(hidden_units, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute one batch."""
        outputs: Tensor = self.out(torch.relu(self.hidden(rows)))
        return outputs


class OwnSequential(nn.Module):
    """Modules one after another, registered by their place, so that parameters, saving and moving find them.

    Source: notes 000-002, S-MYSEQUENTIAL.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        for index, module in enumerate(modules):
            self.add_module(str(index), module)

    def forward(self, rows: Tensor) -> Tensor:
        """Run one batch through every module in order."""
        for module in self.children():
            rows = module(rows)
        return rows


class FixedHidden(nn.Module):
    """A linear layer used twice, constant weights between, and a result halved until its size is at most one.

    The constant weights are a buffer: they are saved and moved with the rest. The halvings are counted by comparing
    with every power of two, exactly as often as a loop would halve, so that no branch depends on the data.

    Shape:
        ``(batch, features)`` in, ``(batch, 1)`` out: each row is halved by its own size, not by that of its batch.

    Source: notes 000-002, S-FIXEDHIDDEN; for a batch of one row it computes the same.
    """

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)
        self.rand_weight: Tensor
        self.powers: Tensor
        self.register_buffer("rand_weight", torch.rand(features, features))
        self.register_buffer("powers", 2.0 ** torch.arange(HALVINGS + 1), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute one batch."""
        rows = self.linear(torch.relu(torch.mm(self.linear(rows), self.rand_weight) + 1))
        size = rows.abs().sum(dim=1, keepdim=True)
        halvings = (size > self.powers[:HALVINGS]).sum(dim=1)
        return (rows / self.powers.index_select(0, halvings).unsqueeze(1)).sum(dim=1, keepdim=True)


class Nested(nn.Module):
    """A sequence inside a block: two hidden layers, then a linear one.

    Shape:
        ``(batch, features)`` in, ``(batch, 16)`` out.

    Source: notes 000-002, S-NEST.
    """

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.linear = nn.Linear(32, 16)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute one batch."""
        outputs: Tensor = self.linear(self.net(rows))
        return outputs


class Centred(nn.Module):
    """Subtract the mean over the whole batch, rows and columns alike.

    It mixes the rows of a batch: what a row becomes depends on its neighbours, so that a model with this layer gives
    other answers at batch 1 than at batch 4. Serve such a model at one batch size only, or use `RowCentred`.

    Source: notes 000-002, S-CENTERED.
    """

    mixes_rows = True

    def forward(self, rows: Tensor) -> Tensor:
        """Compute one batch."""
        return rows - rows.mean()


class RowCentred(nn.Module):
    """Subtract each row's own mean: what `Centred` does to a batch of one row, at every batch size."""

    def forward(self, rows: Tensor) -> Tensor:
        """Compute one batch."""
        return rows - rows.mean(dim=1, keepdim=True)


class OwnLinear(nn.Module):
    """A linear layer with its own weights, ``(features, outputs)``, and ReLU where it is asked for.

    Shape:
        ``(batch, features)`` in, ``(batch, outputs)`` out.

    Source: notes 000-002, S-MYLINEAR, which reads ``weight.data`` and so never learns.
    """

    def __init__(self, features: int, outputs: int, *, rectify: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, outputs))
        self.bias = nn.Parameter(torch.randn(outputs))
        self.rectify = rectify

    def forward(self, rows: Tensor) -> Tensor:
        """Compute one batch."""
        outputs = torch.matmul(rows, self.weight) + self.bias
        return torch.relu(outputs) if self.rectify else outputs


def mixes_rows(network: nn.Module) -> bool:
    """Return whether any layer of a network says that it mixes the rows of a batch."""
    return any(getattr(module, "mixes_rows", False) for module in network.modules())


def sequential() -> nn.Sequential:
    """Build a perceptron of torch's own parts, 20 to 256 to 10."""
    return nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))


def perceptron() -> Perceptron:
    """Build the perceptron as a class, 20 to 256 to 10."""
    return Perceptron(features=20, hidden_units=256, outputs=10)


def own_sequential() -> OwnSequential:
    """Build the same perceptron in a sequence of one's own."""
    return OwnSequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))


def fixed_hidden() -> FixedHidden:
    """Build the block with constant weights, 20 to 1."""
    return FixedHidden(features=20)


def nested() -> Nested:
    """Build the nested block, 20 to 16."""
    return Nested(features=20)


def chimera() -> nn.Sequential:
    """Build a sequence of a nested block, a linear layer and the block with constant weights, 20 to 1."""
    return nn.Sequential(Nested(features=20), nn.Linear(16, 20), FixedHidden(features=20))


def parameter_net() -> nn.Sequential:
    """Build the small perceptron whose parameters the notes look at, 4 to 8 to 1."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def regular_net() -> nn.Sequential:
    """Build four equal blocks with names of their own, then a linear layer, 4 to 1."""
    blocks = nn.Sequential()
    for index in range(4):
        block = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())
        blocks.add_module(f"block {index}", block)
    return nn.Sequential(blocks, nn.Linear(4, 1))


def tied() -> nn.Sequential:
    """Build a network that uses one layer twice, 4 to 1: its gradients add up, and it is counted once."""
    shared = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 1))


def centred() -> nn.Sequential:
    """Build a linear layer whose outputs are centred over the batch, 8 to 128; it mixes rows."""
    return nn.Sequential(nn.Linear(8, 128), Centred())


def row_centred() -> nn.Sequential:
    """Build a linear layer whose outputs are centred row by row, 8 to 128."""
    return nn.Sequential(nn.Linear(8, 128), RowCentred())


def own_linear() -> nn.Sequential:
    """Build two linear layers of one's own, 64 to 8 to 1; without ReLU at the end, which may be zero for every row."""
    return nn.Sequential(OwnLinear(64, 8), OwnLinear(8, 1, rectify=False))


def lazy() -> nn.Sequential:
    """Build a perceptron whose layers find out their inputs from a first row, 20 to 256 to 10.

    The row is run here: before it there are no weights to initialise, to train or to export.
    """
    network = nn.Sequential(nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10))
    with torch.no_grad():
        network(torch.zeros(1, 20))
    return network


def single() -> nn.Sequential:
    """Build one linear layer, 3 to 1: the network that the notes move to a GPU."""
    return nn.Sequential(nn.Linear(3, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block: how it is built, what it takes and gives, and how many trainable numbers it has.

    Attributes:
        build: Takes nothing; draws from torch's global generator.
        features: Columns that go in.
        outputs: Columns that come out.
        parameters: Trainable numbers, shared ones counted once.
    """

    build: Callable[[], nn.Module]
    features: int
    outputs: int
    parameters: int


BLOCKS: dict[str, Block] = {
    "sequential": Block(build=sequential, features=20, outputs=10, parameters=7_946),
    "perceptron": Block(build=perceptron, features=20, outputs=10, parameters=7_946),
    "own-sequential": Block(build=own_sequential, features=20, outputs=10, parameters=7_946),
    "fixed-hidden": Block(build=fixed_hidden, features=20, outputs=1, parameters=420),
    "nested": Block(build=nested, features=20, outputs=16, parameters=3_952),
    "chimera": Block(build=chimera, features=20, outputs=1, parameters=4_712),
    "parameter-net": Block(build=parameter_net, features=4, outputs=1, parameters=49),
    "regular-net": Block(build=regular_net, features=4, outputs=1, parameters=309),
    "tied": Block(build=tied, features=4, outputs=1, parameters=121),
    "centred": Block(build=centred, features=8, outputs=128, parameters=1_152),
    "row-centred": Block(build=row_centred, features=8, outputs=128, parameters=1_152),
    "own-linear": Block(build=own_linear, features=64, outputs=1, parameters=529),
    "lazy": Block(build=lazy, features=20, outputs=10, parameters=7_946),
    "single": Block(build=single, features=3, outputs=1, parameters=4),
}
