"""Our numbers for what the notes print, as far as they come from a run: its metrics, its weights, its answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from train.data import load_dataset
from train.dataset import Dataset, Split
from train.initialise import initialise
from train.loop import decide, to_device
from train.models.inputs import build_input
from train.recipes.recipe import Recipe
from train.reproduction.by_batch import by_batch
from train.run import EpochMetrics, Run, build_network, load_network, read_metrics, read_run

CPU = torch.device("cpu")
FIRST_ROWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A run with all that its figures are taken from."""

    recipe: Recipe
    run: Run
    history: Sequence[EpochMetrics]
    dataset: Dataset
    network: nn.Module
    input_module: nn.Module

    def outputs(self, network: nn.Module | None = None, split: Split | None = None) -> Tensor:
        """Return the network's outputs on a split, the test split unless given."""
        chosen = network or self.network
        inputs = torch.from_numpy((split or self.dataset.test).inputs)
        with torch.inference_mode():
            return torch.cat([chosen(self.input_module(part)) for part in torch.split(inputs, 500)])


def read_trained(recipe: Recipe, path: Path, data_root: Path) -> Trained:
    """Read a run, its data and its network.

    Raises:
        RunError: the run cannot be read.
        DataError: the data cannot be.
    """
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    run = read_run(path)
    return Trained(
        recipe=recipe,
        run=run,
        history=read_metrics(path),
        dataset=load_dataset(recipe, data_root),
        network=load_network(path, run),
        input_module=build_input(recipe.features, recipe.mean, recipe.std),
    )


def fresh_network(recipe: Recipe) -> nn.Module:
    """Build a recipe's network as training does before its first step."""
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.factory, recipe.factory_args)
    initialise(network, recipe.initialisation)
    return network


def history_values(history: Sequence[EpochMetrics]) -> dict[str, float]:
    """Return each epoch's figures as ``name@index``, counted from 0, and the last one's as ``name``."""
    values: dict[str, float] = {}
    for index, metrics in enumerate(history):
        found = {"train_loss": metrics.train_loss, "test_loss": metrics.test_loss}
        if metrics.train_top1_accuracy is not None and metrics.test_top1_accuracy is not None:
            found["train_percent"] = 100 * metrics.train_top1_accuracy
            found["test_percent"] = 100 * metrics.test_top1_accuracy
            found["test_share"] = metrics.test_top1_accuracy
            found["gap_points"] = found["train_percent"] - found["test_percent"]
        values |= {f"{name}@{index}": value for name, value in found.items()} | found
    return values


def measure(trained: Trained) -> dict[str, float]:
    """Return all numbers that come from the run itself; what takes more is in `train.reproduction.repeat`."""
    values = history_values(trained.history) | {"duration_s": trained.run.duration_s}
    values |= _weights(trained)
    if trained.recipe.task == "regression":
        values |= numbered("prediction", trained.outputs()[:FIRST_ROWS, 0])
        values |= numbered("initial_prediction", trained.outputs(fresh_network(trained.recipe))[:FIRST_ROWS, 0])
        values |= numbered("target", torch.from_numpy(trained.dataset.test.targets)[:FIRST_ROWS, 0])
    elif trained.recipe.features:
        values |= numbered("class", decide(trained.outputs())[:FIRST_ROWS])
        values |= numbered("true_class", torch.from_numpy(trained.dataset.test.targets)[:FIRST_ROWS])
        initial = trained.outputs(fresh_network(trained.recipe), trained.dataset.train)
        values |= numbered("initial_logit", initial[:FIRST_ROWS, 0])
    else:
        rows = to_device(trained.dataset.test, CPU)
        means = by_batch(trained.network, trained.input_module, rows, loss=trained.recipe.loss)
        values |= {"test_loss_by_batch": means.loss, "test_percent_by_batch": 100 * means.share}
        for name, split in (("train_rows", trained.dataset.train), ("test_rows", trained.dataset.test)):
            values |= numbered(name, torch.from_numpy(split.targets).bincount())
    return values


def numbered(name: str, numbers: Tensor | Sequence[float]) -> dict[str, float]:
    """Return numbers as ``name@0``, ``name@1`` and so on."""
    listed = numbers.tolist() if isinstance(numbers, Tensor) else numbers
    return {f"{name}@{index}": float(number) for index, number in enumerate(listed)}


def _weights(trained: Trained) -> dict[str, float]:
    state = trained.network.state_dict()
    if not trained.recipe.features or sum(tensor.numel() for tensor in state.values()) > 1000:
        return {}
    flat = torch.cat([tensor.flatten() for tensor in state.values()])
    initial = torch.cat([tensor.flatten() for tensor in fresh_network(trained.recipe).state_dict().values()])
    weights = [tensor for name, tensor in state.items() if "bias" not in name]
    return (
        numbered("weight", flat[:FIRST_ROWS])
        | numbered("initial", initial[:FIRST_ROWS])
        | {"weight_norm": torch.cat([tensor.flatten() for tensor in weights]).norm().item()}
        | (_table(trained) if trained.recipe.name == "house-prices" else {})
    )


def _table(trained: Trained) -> dict[str, float]:
    """Return the table that the network takes, with the means that are taken off put on again."""
    table = trained.input_module(torch.from_numpy(trained.dataset.test.inputs))
    table[:, 0] = table[:, 0] * trained.recipe.std[0] + trained.recipe.mean[0]
    return numbered("table", table.flatten())
