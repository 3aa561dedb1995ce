"""One training run from recipe to record: data, device, seed, loop. What a script, a notebook and the command call."""

import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from train.data import load_dataset, majority_share
from train.dataset import Dataset
from train.device import DeviceChoice
from train.initialise import initialise
from train.loop import Stopped, Watcher, train
from train.models.inputs import build_input
from train.recipes.recipe import Recipe
from train.run import DataRecord, EpochMetrics, Run, build_network

LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained network's weights, with all that `train.write.write_run` needs.

    Attributes:
        run: The record.
        weights: State dict after the last whole epoch, on the CPU.
        history: The whole epochs, in order; at least one.
    """

    run: Run
    weights: dict[str, Tensor]
    history: tuple[EpochMetrics, ...]


def fit(
    recipe: Recipe,
    *,
    data_root: Path,
    choice: DeviceChoice,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
) -> Fitted | None:
    """Train a recipe.

    Args:
        recipe: What to train, with every change to it already made.
        data_root: Where data sets lie, or are downloaded to.
        choice: From `train.device.choose_device`.
        watcher: Is told after every batch and every epoch.
        stop: Asked after every batch; when it says True, the state after the last whole epoch is returned.

    Returns:
        The trained network, or None if it was stopped before the first epoch was whole.

    Raises:
        DataError: the data is missing or damaged.
        TrainingError: the loss is NaN or infinite.
    """
    start = time.perf_counter()
    dataset = load_dataset(recipe, data_root)
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.manual_seed(recipe.seed)  # right before the network is built: see the notes' numbers, 003 §0.4
    network = build_network(recipe.factory, recipe.factory_args)
    initialise(network, recipe.initialisation)
    network = network.to(choice.device)
    if recipe.preprocessing is not None:
        # images come as NHWC; without copies a step is 6 % faster
        network = network.to(memory_format=torch.channels_last)
    input_module = build_input(recipe.features, recipe.mean, recipe.std).to(choice.device)
    history: list[EpochMetrics] = []
    weights: dict[str, Tensor] = {}
    finished = True
    try:
        for metrics in train(network, input_module, dataset, recipe, watcher=watcher, stop=stop):
            history.append(metrics)
            weights = _copy_weights(network)
    except Stopped:
        finished = False
    if not history:
        return None
    run = _record(
        recipe,
        dataset,
        history,
        data_root=data_root,
        choice=choice,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        duration_s=time.perf_counter() - start,
        finished=finished,
    )
    return Fitted(run=run, weights=weights, history=tuple(history))


def _copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }


def _record(
    recipe: Recipe,
    dataset: Dataset,
    history: list[EpochMetrics],
    *,
    data_root: Path,
    choice: DeviceChoice,
    parameters: int,
    duration_s: float,
    finished: bool,
) -> Run:
    last = history[-1]
    return Run(
        recipe=recipe.name,
        task=recipe.task,
        labels=recipe.labels,
        factory=recipe.factory,
        factory_args=recipe.factory_args,
        preprocessing=recipe.preprocessing,
        features=recipe.features,
        mean=recipe.mean,
        std=recipe.std,
        augmentation=recipe.augmentation,
        loss=recipe.loss,
        initialisation=recipe.initialisation,
        weight_decay=recipe.weight_decay,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        epochs_done=len(history),
        seed=recipe.seed,
        data=DataRecord(
            name=dataset.name,
            root=str(data_root),
            sha256=dataset.sha256,
            train_rows=len(dataset.train),
            test_rows=len(dataset.test),
        ),
        device=str(choice.device),
        device_reason=choice.reason,
        parameters=parameters,
        duration_s=duration_s,
        metrics=_metrics(last, dataset),
        versions={"python": platform.python_version()}
        | {library: importlib.metadata.version(library) for library in LIBRARIES},
        source_revision=_source_revision(),
        finished=finished,
        threads=torch.get_num_threads(),
    )


def _metrics(last: EpochMetrics, dataset: Dataset) -> dict[str, float]:
    losses = {"test_loss": last.test_loss, "train_loss": last.train_loss}
    if last.test_top1_accuracy is None or last.train_top1_accuracy is None:
        return losses
    return {
        "test_top1_accuracy": last.test_top1_accuracy,
        "train_top1_accuracy": last.train_top1_accuracy,
        "chance_top1_accuracy": majority_share(dataset.test),
        **losses,
    }


def _source_revision() -> str | None:
    """Return the git commit of this source, with ``-dirty`` where it was changed since; None outside a checkout."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
