"""One training run from recipe to record: data, device, seed, loop. What a script, a notebook and the command call.

In a notebook cell, or anywhere else without a terminal, the progress is one plain line per epoch::

    recipe = replace(find_recipe("digits"), epochs=5, validation=0.1, patience=2)
    with TrainingProgress(Console(), epochs=recipe.epochs) as progress:
        fitted = fit(recipe, data_root=Path("data"), choice=choose_device("auto"), watcher=progress)
    write_run(Path("runs/digits"), fitted.run, fitted.weights, fitted.history, checkpoint=fitted.checkpoint)
    print(diagnose_run(fitted.run, fitted.history))
    show_curves("runs/digits")
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from train.balance import describe_unevenness
from train.checkpoint import Checkpoint, Earlier, check_continues, damaged
from train.data import load_dataset
from train.dataset import DataError, Dataset, Split
from train.device import DeviceChoice
from train.early_stopping import best_epoch, patience_is_spent
from train.initialise import initialise
from train.loop import Stopped, TrainingError, Watcher, train
from train.memory import memory_for
from train.models.inputs import build_input
from train.recipes.recipe import Recipe
from train.record import record_run
from train.run import EpochMetrics, Run, RunError, build_network
from train.state import TrainingState
from train.validation import set_aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained network's weights, with all that `train.write.write_run` needs.

    Attributes:
        run: The record.
        weights: State dict on the CPU, after the best epoch where the recipe has patience, else after the last whole
            one.
        history: The whole epochs, in order; at least one. Those of a run that was gone on from come first.
        checkpoint: The state after the last whole epoch, to go on from.
    """

    run: Run
    weights: dict[str, Tensor]
    history: tuple[EpochMetrics, ...]
    checkpoint: Checkpoint


def fit(
    recipe: Recipe,
    *,
    data_root: Path,
    choice: DeviceChoice,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
    earlier: Earlier | None = None,
    save: Callable[[Fitted], None] | None = None,
    save_every_s: float = 30.0,
    say: Callable[[str], None] = lambda _: None,
    begin: Callable[[], None] = lambda: None,
) -> Fitted | None:
    """Train a recipe.

    Args:
        recipe: What to train, with every change to it already made.
        data_root: Where data sets lie, or are downloaded to.
        choice: From `train.device.choose_device`.
        watcher: Is told after every batch and every epoch.
        stop: Asked after every batch; when it says True, the state after the last whole epoch is returned.
        earlier: A run to go on with, from `train.checkpoint.read_earlier`; on a CPU the weights become those of a run
            that was never interrupted, bit for bit.
        save: Is given an unfinished run at the end of an epoch, so that a crash loses little.
        save_every_s: The least time between two calls of ``save``.
        say: Is given one sentence where the data is not as it should be.
        begin: Is called once, when all that can be refused beforehand was not.

    Returns:
        The trained network, or None if it was stopped before an epoch was whole.

    Raises:
        DataError: the data is missing, damaged, or not what the earlier run saw.
        RunError: the recipe does not go on with the earlier run, or its checkpoint is damaged.
        TrainingError: a loss is NaN or infinite, the device has too little memory, or torch's default device was
            changed.
    """
    start = time.perf_counter()
    _check_default_device()
    if earlier is not None:
        _check_earlier(recipe, earlier, choice)
    dataset = load_dataset(recipe, data_root)
    if earlier is not None and dataset.sha256 != earlier.run.data.sha256:
        remedy = "give the --data-root it was trained from" if recipe.folder is None else "give DIR as it was then"
        raise DataError(
            f"{dataset.name} has sha256 {dataset.sha256[:12]}…, but {earlier.path} was trained on "
            f"{earlier.run.data.sha256[:12]}…; {remedy}, or train again"
        )
    dataset, validation = _set_aside(recipe, dataset)
    with memory_for(choice.device, f"the network of {recipe.parameters:,} numbers", "give --device cpu"):
        network = _build(recipe, choice, threads=earlier.run.threads if earlier else recipe.threads)
        input_module = build_input(recipe.features, recipe.mean, recipe.std).to(choice.device)
        state = TrainingState(network, recipe, rows=len(dataset.train), device=choice.device)
    history: list[EpochMetrics] = []
    best_weights: dict[str, Tensor] | None = None
    duration_s = 0.0
    if earlier is not None:
        _restore(network, state, earlier)
        history, best_weights = list(earlier.history), earlier.checkpoint.best_weights
        duration_s = earlier.run.duration_s
    begin()
    _say_unevenness(recipe, dataset, say)

    def collect(checkpoint: Checkpoint, *, finished: bool) -> Fitted:
        run = record_run(
            recipe,
            dataset,
            validation,
            history,
            data_root=data_root,
            choice=choice,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            duration_s=duration_s + time.perf_counter() - start,
            finished=finished,
        )
        weights = checkpoint.network if checkpoint.best_weights is None else checkpoint.best_weights
        return Fitted(run=run, weights=weights, history=tuple(history), checkpoint=checkpoint)

    checkpoint: Checkpoint | None = None
    finished = True
    saved = time.perf_counter()
    epochs = train(
        network, input_module, dataset, recipe, watcher=watcher, stop=stop, validation=validation, state=state
    )
    batch = f"batch_size {recipe.batch_size or len(dataset.train)}"
    try:
        while True:
            with memory_for(choice.device, batch, "give a smaller --batch-size, or --device cpu"):
                metrics = next(epochs, None)
            if metrics is None:
                break
            history.append(metrics)
            weights = _copy_weights(network)
            if recipe.patience is not None and best_epoch(history) == metrics.epoch:
                best_weights = weights
            checkpoint = Checkpoint(network=weights, state=state.state_dict(), best_weights=best_weights)
            if patience_is_spent(history, recipe.patience):
                break
            if save is not None and time.perf_counter() - saved >= save_every_s:
                save(collect(checkpoint, finished=False))
                saved = time.perf_counter()
    except Stopped:
        finished = False
    return None if checkpoint is None else collect(checkpoint, finished=finished)


def _check_default_device() -> None:
    """Refuse a default device: shuffling asks a generator on the CPU for numbers, and torch would ask it for others."""
    default = torch.get_default_device()
    if default.type != "cpu":
        raise TrainingError(
            f"torch's default device is {default}, but the device is an argument here, and shuffling needs the CPU; "
            "take torch.set_default_device away and give --device"
        )


def _check_earlier(recipe: Recipe, earlier: Earlier, choice: DeviceChoice) -> None:
    check_continues(recipe, earlier)
    if str(choice.device) != earlier.run.device:
        raise RunError(
            f"{earlier.path} was trained on {earlier.run.device}, but {choice.device} is asked for, which draws other "
            f"random numbers; give --device {earlier.run.device}, or train again without --resume"
        )


def _build(recipe: Recipe, choice: DeviceChoice, *, threads: int | None) -> nn.Module:
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.manual_seed(recipe.seed)  # right before the network is built: see the notes' numbers, 003 §0.4
    network = build_network(recipe.factory, recipe.factory_args)
    initialise(network, recipe.initialisation)
    network = network.to(choice.device)
    if recipe.preprocessing is not None:
        # images come as NHWC; without copies a step is 6 % faster
        network = network.to(memory_format=torch.channels_last)
    return network


def _restore(network: nn.Module, state: TrainingState, earlier: Earlier) -> None:
    try:
        network.load_state_dict(earlier.checkpoint.network)
        state.load_state_dict(earlier.checkpoint.state)
    except Exception as error:  # whatever does not fit raises what its part raises
        raise damaged(earlier.path, error) from error


def _set_aside(recipe: Recipe, dataset: Dataset) -> tuple[Dataset, Split | None]:
    if not recipe.validation:
        return dataset, None
    train_split, validation = set_aside(dataset.train, recipe.validation, seed=recipe.seed)
    return replace(dataset, train=train_split), validation


def _say_unevenness(recipe: Recipe, dataset: Dataset, say: Callable[[str], None]) -> None:
    if recipe.task == "regression" or recipe.class_weights != "none":
        return
    sentence = describe_unevenness(dataset.train, recipe.labels)
    if sentence is not None:
        say(sentence)


def _copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
