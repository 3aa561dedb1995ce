"""The handwritten digits as tensors, and training of small networks on them: what several studies share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.data import read_digits
from train.scratch.sgd import batches

FEATURES, CLASSES = 64, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Inputs ``(rows, features)`` in [0, 1] and class indices ``(rows,)``."""

    inputs: Tensor
    targets: Tensor

    def first(self, rows: int) -> "Rows":
        """Return only the first rows."""
        return Rows(inputs=self.inputs[:rows], targets=self.targets[:rows])


def read_rows() -> tuple[Rows, Rows]:
    """Return the training and the test rows."""
    dataset = read_digits(Path())
    train, test = (
        Rows(
            inputs=torch.from_numpy(split.inputs).flatten(1).float() / 255,
            targets=torch.from_numpy(split.targets),
        )
        for split in (dataset.train, dataset.test)
    )
    return train, test


def fit_network(
    network: nn.Module, rows: Rows, *, learning_rate: float, batch_size: int, epochs: int, seed: int
) -> Iterator[int]:
    """Train in place with cross-entropy and SGD; yield the number of each epoch, the network in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate)
    for epoch in range(1, epochs + 1):
        network.train()
        for index in batches(len(rows.inputs), batch_size, generator):
            loss = functional.cross_entropy(network(rows.inputs[index]), rows.targets[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        yield epoch


def measure(network: nn.Module, rows: Rows) -> tuple[float, float]:
    """Return mean loss and top-1 accuracy of a network in evaluation mode."""
    with torch.inference_mode():
        logits = network(rows.inputs)
        loss = functional.cross_entropy(logits, rows.targets)
        return float(loss), float((logits.argmax(dim=1) == rows.targets).double().mean())
