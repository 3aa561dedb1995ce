"""Training and evaluation: pure functions over a network, arrays and a recipe. No files, no output."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.augment import AUGMENTATIONS, Augmentation
from train.data import Dataset, Split
from train.models.image_input import ImageInput
from train.recipes.recipe import Recipe
from train.run import EpochMetrics

EVALUATION_BATCH = 500


class TrainingError(ValueError):
    """Training that cannot go on."""


class Stopped(Exception):  # noqa: N818 - it is no error: somebody asked for it
    """Raised out of the loop when `stop` says so, in the middle of an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """A split on the device, ready to be indexed.

    Attributes:
        images: ``(rows, height, width, channels)``, uint8.
        class_index: ``(rows,)``, int64.
    """

    images: Tensor
    class_index: Tensor


class Totals:
    """Sums over the rows seen so far; they stay on the device until somebody asks for `means`."""

    def __init__(self, device: torch.device) -> None:
        self.rows = 0
        self._loss = torch.zeros((), device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, loss: Tensor, logits: Tensor, class_index: Tensor) -> None:
        """Add one batch, whose loss is a mean over its rows."""
        self.rows += len(class_index)
        self._loss += loss.detach() * len(class_index)
        self._correct += (logits.detach().argmax(dim=1) == class_index).sum()

    def means(self) -> tuple[float, float]:
        """Return the mean loss and the top-1 accuracy, each weighted by rows. Waits for the device."""
        return self._loss.item() / self.rows, self._correct.item() / self.rows


class Watcher(Protocol):
    """Is told how training goes."""

    def batch_done(self, epoch: int, totals: Totals, rows: int) -> None:
        """Take note of a training batch; ``totals`` are those of the epoch so far, ``rows`` what it will have."""

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """Take note of an epoch, evaluated."""


def to_device(split: Split, device: torch.device) -> Batches:
    """Copy a split to the device whole."""
    return Batches(
        images=torch.from_numpy(split.images).to(device), class_index=torch.from_numpy(split.class_index).to(device)
    )


def train(
    network: nn.Module,
    image_input: ImageInput,
    dataset: Dataset,
    recipe: Recipe,
    *,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[EpochMetrics]:
    """Train a network in place, and yield after every epoch.

    Args:
        network: On the device to train on, freshly built; it takes normalised float NCHW images and gives logits.
        image_input: On the same device.
        dataset: Prepared for the recipe.
        recipe: Optimizer, learning rate, batch size, epochs, augmentation, and the seed of the shuffling.
        watcher: Is told after every batch and every epoch.
        stop: Asked after every batch.

    Yields:
        The metrics of each epoch, weighted by rows; the network is in evaluation mode.

    Raises:
        TrainingError: the loss is NaN or infinite.
        Stopped: ``stop`` returned True; the network is somewhere within the epoch.
    """
    device = image_input.mean.device
    rows, test = to_device(dataset.train, device), to_device(dataset.test, device)
    orders = _orders(len(rows.images), recipe.seed)
    augment = _augmentation(recipe, device)
    optimizer = _optimizer(network, recipe)
    for epoch in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        network.train()
        totals = Totals(device)
        order = next(orders).to(device)
        for first in range(0, len(order), recipe.batch_size):
            index = order[first : first + recipe.batch_size]
            images, class_index = augment(rows.images[index]), rows.class_index[index]
            logits = network(image_input(images))
            loss = functional.cross_entropy(logits, class_index)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            totals.add(loss, logits, class_index)
            watcher.batch_done(epoch, totals, len(order))
            if stop():
                raise Stopped
        train_loss, train_accuracy = totals.means()
        if not math.isfinite(train_loss):
            raise TrainingError(
                f"the training loss of epoch {epoch} is {train_loss}, but a finite number was expected; "
                f"give a --learning-rate below {recipe.learning_rate:g}"
            )
        test_loss, test_accuracy = evaluate(network, image_input, test, stop=stop)
        metrics = EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            train_top1_accuracy=train_accuracy,
            test_loss=test_loss,
            test_top1_accuracy=test_accuracy,
            duration_s=time.perf_counter() - start,
        )
        watcher.epoch_done(metrics)
        yield metrics


def evaluate(
    network: nn.Module, image_input: ImageInput, rows: Batches, *, stop: Callable[[], bool] = lambda: False
) -> tuple[float, float]:
    """Measure a network on a split; it is left in evaluation mode.

    Returns:
        Mean cross-entropy and top-1 accuracy, each weighted by rows.

    Raises:
        Stopped: ``stop`` returned True.
    """
    network.eval()
    totals = Totals(rows.images.device)
    with torch.inference_mode():
        for first in range(0, len(rows.images), EVALUATION_BATCH):
            class_index = rows.class_index[first : first + EVALUATION_BATCH]
            logits = network(image_input(rows.images[first : first + EVALUATION_BATCH]))
            totals.add(functional.cross_entropy(logits, class_index), logits, class_index)
            if stop():
                raise Stopped
    return totals.means()


def _orders(rows: int, seed: int) -> Iterator[Tensor]:
    """Yield the order of each epoch: the one that the notes' two DataLoaders give after ``manual_seed(seed)``.

    Drawn on the CPU, so that it is the same on every device, and from a generator of its own.

    Source: torch 2.15, torch/utils/data: `_BaseDataLoaderIter` draws a base seed, for the training and for the test
    loader alike; `RandomSampler` draws the seed of the generator that permutes.
    """
    seeds = torch.Generator().manual_seed(seed)

    def draw() -> int:
        return int(torch.empty((), dtype=torch.int64).random_(generator=seeds).item())

    while True:
        draw()  # the training loader's base seed
        yield torch.randperm(rows, generator=torch.Generator().manual_seed(draw()))
        draw()  # the test loader's base seed


def _augmentation(recipe: Recipe, device: torch.device) -> Callable[[Tensor], Tensor]:
    if recipe.augmentation is None:
        return lambda images: images
    augmentation: Augmentation = AUGMENTATIONS[recipe.augmentation]
    generator = torch.Generator(device).manual_seed(recipe.seed)
    return lambda images: augmentation(images, generator)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    return torch.optim.SGD(network.parameters(), lr=recipe.learning_rate)
