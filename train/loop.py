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
from train.dataset import Dataset, Split
from train.recipes.recipe import Loss, Recipe
from train.run import EpochMetrics

EVALUATION_BATCH = 500


class TrainingError(ValueError):
    """Training that cannot go on."""


class Stopped(Exception):  # noqa: N818 - it is no error: somebody asked for it
    """Raised out of the loop when `stop` says so, in the middle of an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """A split on the device, ready to be indexed; see `train.data.Split`."""

    inputs: Tensor
    targets: Tensor


class Totals:
    """Sums over the rows seen so far; they stay on the device until somebody asks for `means`."""

    def __init__(self, device: torch.device) -> None:
        self.rows = 0
        self._loss = torch.zeros((), device=device)
        self._has_classes = True
        self._correct = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Add one batch, whose loss is a mean over its rows."""
        self.rows += len(targets)
        self._loss += loss.detach() * len(targets)
        self._has_classes = not targets.is_floating_point()
        if self._has_classes:
            self._correct += (decide(outputs.detach()) == targets).sum()

    def means(self) -> tuple[float, float | None]:
        """Return mean loss and top-1 accuracy (None for values), each weighted by rows. Waits for the device."""
        return self._loss.item() / self.rows, self._correct.item() / self.rows if self._has_classes else None


class Watcher(Protocol):
    """Is told how training goes."""

    def batch_done(self, epoch: int, totals: Totals, rows: int) -> None:
        """Take note of a training batch; ``totals`` are those of the epoch so far, ``rows`` what it will have."""

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """Take note of an epoch, evaluated."""


def to_device(split: Split, device: torch.device) -> Batches:
    """Copy a split to the device whole."""
    return Batches(inputs=torch.from_numpy(split.inputs).to(device), targets=torch.from_numpy(split.targets).to(device))


def decide(logits: Tensor) -> Tensor:
    """Return the class of each row, ``(batch,)``: the greatest logit, or for a single one whether it is at least 0."""
    return (logits[:, 0] >= 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)


def mean_loss(outputs: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """Return a loss as its mean over the rows and targets of a batch.

    Args:
        outputs: ``(batch, classes)``, ``(batch, 1)`` for binary-cross-entropy, or ``(batch, targets)``.
        targets: Class indices ``(batch,)``, or values ``(batch, targets)``.
        loss: Which one.
    """
    if loss == "cross-entropy":
        return functional.cross_entropy(outputs, targets)
    if loss == "binary-cross-entropy":
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype))
    if outputs.shape != targets.shape:
        raise TrainingError(
            f"the network gives {list(outputs.shape)}, but targets are {list(targets.shape)}; both would be broadcast"
        )
    if loss == "l1":
        return functional.l1_loss(outputs, targets)
    return functional.mse_loss(outputs, targets) * (0.5 if loss == "half-mse" else 1)


def train(
    network: nn.Module,
    input_module: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[EpochMetrics]:
    """Train a network in place, and yield after every epoch.

    Args:
        network: On the device to train on, freshly built; it takes what the input module gives.
        input_module: On the same device; from `train.models.inputs.build_input`.
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
    device = next(input_module.buffers()).device
    rows, test = to_device(dataset.train, device), to_device(dataset.test, device)
    orders = _orders(len(rows.inputs), recipe.seed if recipe.seed_order else None)
    batch_size = recipe.batch_size or len(rows.inputs)
    augment = _augmentation(recipe, device)
    optimizer = _optimizer(network, recipe)
    for epoch in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        network.train()
        totals = Totals(device)
        order = next(orders).to(device)
        for first in range(0, len(order), batch_size):
            # all rows at once are taken as they lie: their order would change nothing but the rounding
            index = order[first : first + batch_size] if recipe.batch_size else slice(None)
            inputs, targets = augment(rows.inputs[index]), rows.targets[index]
            outputs = network(input_module(inputs))
            loss = mean_loss(outputs, targets, recipe.loss)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            totals.add(loss, outputs, targets)
            watcher.batch_done(epoch, totals, len(order))
            if stop():
                raise Stopped
        train_loss, train_accuracy = totals.means()
        if not math.isfinite(train_loss):
            raise TrainingError(
                f"the training loss of epoch {epoch} is {train_loss}, but a finite number was expected; "
                f"give a --learning-rate below {recipe.learning_rate:g}"
            )
        test_loss, test_accuracy = evaluate(network, input_module, test, loss=recipe.loss, stop=stop)
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
    network: nn.Module,
    input_module: nn.Module,
    rows: Batches,
    *,
    loss: Loss = "cross-entropy",
    stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float | None]:
    """Measure a network on a split; it is left in evaluation mode.

    Returns:
        Mean loss and top-1 accuracy (None for a regression), each weighted by rows.

    Raises:
        Stopped: ``stop`` returned True.
    """
    network.eval()
    totals = Totals(rows.inputs.device)
    with torch.inference_mode():
        for first in range(0, len(rows.inputs), EVALUATION_BATCH):
            targets = rows.targets[first : first + EVALUATION_BATCH]
            outputs = network(input_module(rows.inputs[first : first + EVALUATION_BATCH]))
            totals.add(mean_loss(outputs, targets, loss), outputs, targets)
            if stop():
                raise Stopped
    return totals.means()


def _orders(rows: int, seed: int | None) -> Iterator[Tensor]:
    """Yield the order of each epoch: the one that the notes' two DataLoaders give after ``manual_seed(seed)``.

    Without a seed it goes on from where the global generator stands, as they do where nobody seeds again.

    Drawn on the CPU, so that it is the same on every device, and from a generator of its own.

    Source: torch 2.15, torch/utils/data: `_BaseDataLoaderIter` draws a base seed, for the training and for the test
    loader alike; `RandomSampler` draws the seed of the generator that permutes.
    """
    seeds = torch.Generator()
    if seed is None:
        seeds.set_state(torch.get_rng_state())
    else:
        seeds.manual_seed(seed)

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
    groups: list[dict[str, object]] = [{"params": list(network.parameters())}]
    if recipe.weight_decay:
        weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
        groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others}]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(groups, lr=recipe.learning_rate)
