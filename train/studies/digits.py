"""Images as rows of tensors, and training of small networks on them: what several studies share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.data import read_digits
from train.dataset import MissingDataError, Split
from train.fashion_mnist import read_fashion_mnist
from train.scratch.sgd import batches

FEATURES, CLASSES = 64, 10
NO_FASHION = "Fashion-MNIST is not there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Inputs ``(rows, features)`` in [0, 1] and class indices ``(rows,)``."""

    inputs: Tensor
    targets: Tensor

    def first(self, rows: int) -> "Rows":
        """Return only the first rows."""
        return Rows(inputs=self.inputs[:rows], targets=self.targets[:rows])


def read_rows() -> tuple[Rows, Rows]:
    """Return the training and the test rows of the digits."""
    dataset = read_digits(Path())
    return _as_rows(dataset.train), _as_rows(dataset.test)


def read_fashion_rows(data_root: Path) -> tuple[Rows, Rows] | None:
    """Return the training and the test rows of Fashion-MNIST, or None where it is not there.

    Raises:
        DataError: a file is damaged.
    """
    try:
        dataset = read_fashion_mnist(data_root, download=False)
    except MissingDataError:
        return None
    return _as_rows(dataset.train), _as_rows(dataset.test)


def _as_rows(split: Split) -> Rows:
    return Rows(
        inputs=torch.from_numpy(split.inputs).flatten(1).float().div_(255), targets=torch.from_numpy(split.targets)
    )


def fit_network(
    network: nn.Module, rows: Rows, *, learning_rate: float, batch_size: int, epochs: int, seed: int
) -> Iterator[int]:
    """Train in place with cross-entropy and SGD; yield the number of each epoch, the network in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate)
    for epoch in range(1, epochs + 1):
        network.train()
        for index in batches(len(rows.inputs), batch_size, generator):
            inputs = rows.inputs.index_select(0, index)  # copies rows whole: far faster than rows.inputs[index]
            loss = functional.cross_entropy(network(inputs), rows.targets[index])
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
