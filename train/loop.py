"""Training and evaluation: pure functions over a network, arrays and a recipe. No files, no output."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.augment import AUGMENTATIONS, Augmentation
from train.balance import balanced_weights
from train.dataset import Dataset, Split
from train.errors import TrainingError as TrainingError  # part of this module's contract
from train.memory import memory_for
from train.recipes.recipe import Loss, Recipe
from train.run import EpochMetrics
from train.schedule import advance
from train.state import TrainingState

EVALUATION_BATCH = 500


class Stopped(Exception):  # noqa: N818 - it is no error: somebody asked for it
    """Raised out of the loop when `stop` says so, in the middle of an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """A split on the device, ready to be indexed; see `train.data.Split`."""

    inputs: Tensor
    targets: Tensor

    def select(self, rows: Tensor) -> "Batches":
        """Return some rows; on the CPU several times as fast as indexing with brackets."""
        return Batches(inputs=self.inputs.index_select(0, rows), targets=self.targets.index_select(0, rows))


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


def mean_loss(outputs: Tensor, targets: Tensor, loss: Loss, class_weights: Tensor | None = None) -> Tensor:
    """Return a loss as its mean over the rows and targets of a batch.

    Args:
        outputs: ``(batch, classes)``, ``(batch, 1)`` for binary-cross-entropy, or ``(batch, targets)``.
        targets: Class indices ``(batch,)``, or values ``(batch, targets)``.
        loss: Which one.
        class_weights: Of each class, ``(classes,)``: what the loss of a row is multiplied by before the mean. It is one
            over the rows, not over their weights: those would fall out of a batch of one row.
    """
    if class_weights is not None:
        return (class_weights[targets] * _loss_of_rows(outputs, targets, loss, reduction="none")).mean()
    if loss in {"cross-entropy", "binary-cross-entropy"}:
        return _loss_of_rows(outputs, targets, loss, reduction="mean")
    if outputs.shape != targets.shape:
        raise TrainingError(
            f"the network gives {list(outputs.shape)}, but targets are {list(targets.shape)}; both would be broadcast"
        )
    if loss == "l1":
        return functional.l1_loss(outputs, targets)
    return functional.mse_loss(outputs, targets) * (0.5 if loss == "half-mse" else 1)


def _loss_of_rows(outputs: Tensor, targets: Tensor, loss: Loss, *, reduction: str) -> Tensor:
    if loss == "cross-entropy":
        return functional.cross_entropy(outputs, targets, reduction=reduction)
    return functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype), reduction=reduction)


def train(
    network: nn.Module,
    input_module: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
    validation: Split | None = None,
    state: TrainingState | None = None,
) -> Iterator[EpochMetrics]:
    """Train a network in place, and yield after every epoch.

    Args:
        network: On the device to train on, freshly built or as ``state`` left it; it takes what the input module gives.
        input_module: On the same device; from `train.models.inputs.build_input`.
        dataset: Prepared for the recipe.
        recipe: Optimizer, schedule, class weights, batch size, epochs, augmentation, and the seed of the shuffling.
        watcher: Is told after every batch and every epoch.
        stop: Asked after every batch.
        validation: Rows that are measured after every epoch and never trained on.
        state: Where to go on from; a fresh one unless given. After every epoch it is that of the epoch.

    Yields:
        The metrics of each epoch to come, weighted by rows; the network is in evaluation mode.

    Raises:
        TrainingError: a loss is NaN or infinite, or memory runs out.
        Stopped: ``stop`` returned True; the network is somewhere within the epoch.
    """
    device = next(input_module.buffers()).device
    with memory_for(
        device, f"the {len(dataset.train) + len(dataset.test):,} rows of {dataset.name}", "give --device cpu"
    ):
        rows, test = to_device(dataset.train, device), to_device(dataset.test, device)
        held_out = None if validation is None else to_device(validation, device)
    state = state or TrainingState(network, recipe, rows=len(rows.inputs), device=device)
    batch_size = recipe.batch_size or len(rows.inputs)
    augment = _augmentation(recipe, state.augmentation)
    weights = _class_weights(dataset.train, recipe, device)
    for epoch in range(state.epochs_done + 1, recipe.epochs + 1):
        start = time.perf_counter()
        learning_rate = state.learning_rate
        network.train()
        totals = Totals(device)
        order = state.order.draw().to(device)
        for first in range(0, len(order), batch_size):
            # all rows at once are taken as they lie: their order would change nothing but the rounding
            batch = rows.select(order[first : first + batch_size]) if recipe.batch_size else rows
            inputs, targets = augment(batch.inputs), batch.targets
            outputs = network(input_module(inputs))
            loss = mean_loss(outputs, targets, recipe.loss, weights)
            state.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimizer.step()
            totals.add(loss if weights is None else mean_loss(outputs, targets, recipe.loss), outputs, targets)
            watcher.batch_done(epoch, totals, len(order))
            if stop():
                raise Stopped
        train_loss, train_accuracy = totals.means()
        _check_finite(train_loss, "training", epoch, recipe)
        validation_loss, validation_accuracy, weighted_loss = None, None, None
        if held_out is not None:
            measure = partial(evaluate, network, input_module, held_out, loss=recipe.loss, stop=stop)
            validation_loss, validation_accuracy = measure()
            _check_finite(validation_loss, "validation", epoch, recipe)
            if weights is not None:
                weighted_loss, _ = measure(class_weights=weights)
        test_loss, test_accuracy = evaluate(network, input_module, test, loss=recipe.loss, stop=stop)
        _check_finite(test_loss, "test", epoch, recipe)
        state.epochs_done = epoch
        metrics = EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            train_top1_accuracy=train_accuracy,
            test_loss=test_loss,
            test_top1_accuracy=test_accuracy,
            duration_s=time.perf_counter() - start,
            validation_loss=validation_loss,
            validation_top1_accuracy=validation_accuracy,
            learning_rate=learning_rate,
            validation_weighted_loss=weighted_loss,
        )
        advance(state.schedule, metrics.choosing_loss)
        watcher.epoch_done(metrics)
        yield metrics


def evaluate(
    network: nn.Module,
    input_module: nn.Module,
    rows: Batches,
    *,
    loss: Loss = "cross-entropy",
    class_weights: Tensor | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float | None]:
    """Measure a network on a split; it is left in evaluation mode.

    Returns:
        Mean loss and top-1 accuracy (None for a regression), each weighted by rows; the loss by classes, too, where
        ``class_weights`` are given.

    Raises:
        TrainingError: memory runs out.
        Stopped: ``stop`` returned True.
    """
    network.eval()
    device = rows.inputs.device
    totals = Totals(device)
    at_once = f"{min(EVALUATION_BATCH, len(rows.inputs))} rows, which evaluation takes at once"
    with memory_for(device, at_once, "give --device cpu"), torch.inference_mode():
        for first in range(0, len(rows.inputs), EVALUATION_BATCH):
            targets = rows.targets[first : first + EVALUATION_BATCH]
            outputs = network(input_module(rows.inputs[first : first + EVALUATION_BATCH]))
            totals.add(mean_loss(outputs, targets, loss, class_weights), outputs, targets)
            if stop():
                raise Stopped
    return totals.means()


def _check_finite(loss: float, name: str, epoch: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the {name} loss of epoch {epoch} is {loss}, but a finite number was expected; "
            f"give a --learning-rate below {recipe.learning_rate:g}"
        )


def _augmentation(recipe: Recipe, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    if recipe.augmentation is None:
        return lambda images: images
    augmentation: Augmentation = AUGMENTATIONS[recipe.augmentation]
    return lambda images: augmentation(images, generator)


def _class_weights(split: Split, recipe: Recipe, device: torch.device) -> Tensor | None:
    if recipe.class_weights == "none":
        return None
    return torch.from_numpy(balanced_weights(split, recipe.labels)).to(device)
