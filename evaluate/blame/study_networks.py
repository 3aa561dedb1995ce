"""Small networks of four kinds, which faults are planted into to measure whether blame finds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.network_outputs import flatten_outputs
from serve.bundle import DType, Feature, TensorSpec
from train.models.feature_input import FeatureInput
from train.models.image_input import ImageInput

ROWS = 16
_DTYPES: Mapping[str, DType] = {"uint8": "uint8", "float32": "float32", "int64": "int64"}
COLUMNS = tuple(Feature(name=name) for name in ("rooms", "east", "share", "area"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A network with what it takes and gives.

    Attributes:
        name: What kind it is.
        module: In evaluation mode.
        feeds: Inputs by name.
        inputs: What it takes.
        outputs: What it gives.
    """

    name: str
    module: nn.Module
    feeds: Mapping[str, NDArray[Any]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Pictures(nn.Module):
    """Convolutions with all that goes with them, its own preprocessing in front."""

    def __init__(self) -> None:
        super().__init__()
        self.input_module = ImageInput((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8, padding_mode="reflect")
        self.gate = nn.SiLU()
        self.narrow = nn.MaxPool2d(2)
        self.second = nn.Conv2d(8, 12, 1)
        self.act = nn.ReLU()
        self.head = nn.Linear(12, 5)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run one batch."""
        hidden = self.pool(torch.relu(self.norm(self.first(self.input_module(image)))))
        hidden = self.narrow(hidden + self.gate(self.depth(hidden)))
        logits = self.head(self.act(self.second(hidden)).mean(dim=(2, 3)))
        return logits, torch.softmax(logits, dim=1)


class Layers(nn.Module):
    """Linear layers between activations and a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(9, 24)
        self.gelu = nn.GELU()
        self.norm = nn.LayerNorm(24)
        self.two = nn.Linear(24, 24)
        self.tanh = nn.Tanh()
        self.three = nn.Linear(48, 4)

    def forward(self, signal: Tensor) -> tuple[Tensor, ...]:
        """Run one batch."""
        hidden = self.norm(self.gelu(self.one(signal)))
        return (self.three(torch.cat([hidden, self.tanh(self.two(hidden))], dim=1)),)


class Block(nn.Module):
    """One block of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.after = nn.LayerNorm(16)
        self.wide = nn.Linear(16, 32)
        self.gelu = nn.GELU()
        self.narrow = nn.Linear(32, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run one batch."""
        normed = self.before(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        hidden: Tensor = self.narrow(self.gelu(self.wide(self.after(tokens))))
        return tokens + hidden


class Words(nn.Module):
    """A small transformer over word numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 16)
        self.places = nn.Parameter(torch.randn(1, 7, 16) * 0.3)
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 6)

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Run one batch."""
        hidden = self.norm(self.blocks(self.words(words) + self.places))
        logits = self.head(hidden.mean(dim=1))
        return logits, torch.softmax(logits, dim=1)


class Table(nn.Module):
    """A regression on a table, with gates."""

    def __init__(self) -> None:
        super().__init__()
        self.input_module = FeatureInput(COLUMNS, (10.0, -3.0, 0.5, 100.0), (4.0, 2.0, 0.1, 30.0))
        self.one = nn.Linear(4, 16)
        self.norm = nn.BatchNorm1d(16)
        self.elu = nn.ELU()
        self.gate = nn.Linear(16, 16)
        self.two = nn.Linear(16, 16)
        self.last = nn.Linear(16, 2)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Run one batch."""
        hidden = self.elu(self.norm(self.one(self.input_module(features))))
        hidden = hidden * torch.sigmoid(self.gate(hidden))
        return (self.last(hidden - torch.clamp(self.two(hidden), min=0.0)),)


def build_networks(seed: int = 0) -> list[Network]:
    """Build one network of each kind, with weights from a seed."""
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(ROWS, 4)) * [4, 2, 0.1, 30] + [10, -3, 0.5, 100]).astype(np.float32)
    return [
        _network(Pictures, "image", rng.integers(0, 256, size=(ROWS, 12, 12, 3), dtype=np.uint8), "cnn", seed),
        _network(Layers, "signal", rng.normal(size=(ROWS, 9)).astype(np.float32), "mlp", seed),
        _network(Words, "words", rng.integers(0, 30, size=(ROWS, 7)), "transformer", seed),
        _network(Table, "features", features, "tabular", seed),
    ]


def _network(kind: type[nn.Module], name: str, values: NDArray[Any], title: str, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = kind().eval()
        for part in module.modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)) and part.running_mean is not None:
                part.running_mean.normal_(0, 0.3)
                if part.running_var is not None:
                    part.running_var.uniform_(0.5, 2)
        with torch.no_grad():
            for key, parameter in module.named_parameters():
                if key.endswith("bias"):
                    parameter.normal_(0, 0.3)
            results = flatten_outputs(module(torch.from_numpy(values)))
    names = ("logits", "probabilities") if len(results) == 2 else ("prediction",)
    return Network(
        name=title,
        module=module,
        feeds={name: values},
        inputs=(TensorSpec(name=name, dtype=_DTYPES[values.dtype.name], shape=("batch", *values.shape[1:])),),
        outputs=tuple(
            TensorSpec(name=key, dtype="float32", shape=("batch", *result.shape[1:]))
            for key, result in zip(names, results.values(), strict=True)
        ),
    )
