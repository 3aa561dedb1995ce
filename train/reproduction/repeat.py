"""Numbers for which a recipe is trained again: over seeds, batch by batch, for longer, or not at all."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from train.dataset import Dataset, Split, make_dataset
from train.loop import Watcher, decide, to_device, train
from train.recipes.recipe import Recipe
from train.reproduction.by_batch import BatchWatcher, by_batch
from train.reproduction.measure import CPU, Trained, fresh_network, history_values, numbered
from train.run import EpochMetrics
from train.tables import (
    LINEAR_BIAS,
    LINEAR_ROWS,
    LINEAR_WEIGHTS,
    NOISE_STD,
    WIDE_BIAS,
    WIDE_FEATURES,
    WIDE_TEST_ROWS,
    WIDE_TRAIN_ROWS,
    WIDE_WEIGHT,
)

SEEDS = range(10)
CIRCLES_ROUNDS = 4
SLOW_RATE = 0.001
SAMPLES = 9


class MeasureError(ValueError):
    """A recipe that gives other numbers when it is trained again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """Further numbers by quantity, and numbers over seeds."""

    values: dict[str, float]
    seeds: dict[str, list[float]]


class _Quiet:
    def batch_done(self, epoch: int, totals: object, rows: int) -> None:
        """Take no note."""

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """Take no note."""


def repeat(trained: Trained) -> More:
    """Measure what a recipe's run alone does not tell.

    Raises:
        MeasureError: training again did not give the run's own metrics.
    """
    take = MORE.get(trained.recipe.name)
    return More(values={}, seeds={}) if take is None else take(trained)


def _train_again(trained: Trained, watcher: Watcher) -> tuple[list[EpochMetrics], dict[str, float]]:
    """Train once more, with a test over batches after every epoch."""
    network = fresh_network(trained.recipe).to(memory_format=torch.channels_last)  # as `train.fit` does
    test = to_device(trained.dataset.test, CPU)
    history: list[EpochMetrics] = []
    values: dict[str, float] = {}
    for metrics in train(network, trained.input_module, trained.dataset, trained.recipe, watcher=watcher):
        means = by_batch(network, trained.input_module, test, loss=trained.recipe.loss)
        values |= {
            f"test_loss_by_batch@{len(history)}": means.loss,
            f"test_share_by_batch@{len(history)}": means.share,
            f"test_percent_by_batch@{len(history)}": 100 * means.share,
        }
        history.append(metrics)
    return history, values


def _over_batches(trained: Trained) -> More:
    """Take all means as the notes do: over batches, of which the short last one counts as much as a full one."""
    watcher = BatchWatcher()
    history, values = _train_again(trained, watcher)
    again, before = (
        [(metrics.train_loss, metrics.test_loss) for metrics in epochs] for epochs in (history, trained.history)
    )
    if again != before:
        raise MeasureError(
            f"recipe {trained.recipe.name} has losses {again[-1]} when it is trained again, but its run has "
            f"{before[-1]}; give --fresh"
        )
    for index, means in enumerate(watcher.epochs):
        values |= {f"train_loss_by_batch@{index}": means.loss, f"train_share_by_batch@{index}": means.share}
    return More(values=values, seeds={})


def _circles(trained: Trained) -> More:
    """Go on for three thousand epochs; then do the last thousand of them again, at the rate that the notes speak of."""
    recipe = replace(trained.recipe, epochs=trained.recipe.epochs * (CIRCLES_ROUNDS - 1))
    network = fresh_network(recipe)
    history = list(train(network, trained.input_module, trained.dataset, recipe, watcher=_Quiet()))
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    # plain gradient descent has no memory, so a new optimizer goes on as the old one would
    history += train(network, trained.input_module, trained.dataset, trained.recipe, watcher=_Quiet())
    values = {name: value for name, value in history_values(history).items() if "@" in name}
    network.load_state_dict(kept)
    slow_recipe = replace(trained.recipe, learning_rate=SLOW_RATE)
    slow = list(train(network, trained.input_module, trained.dataset, slow_recipe, watcher=_Quiet()))
    values |= {"slow_first_loss": slow[0].train_loss, "slow_last_loss": slow[-1].train_loss}
    return More(values=values, seeds={})


def _over_seeds(recipe: Recipe, draw: Callable[[int], Dataset], quantities: set[str]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {quantity: [] for quantity in quantities}
    for seed in SEEDS:
        seeded = replace(recipe, seed=seed)
        network, input_module = fresh_network(seeded), _identity(recipe)
        history = list(train(network, input_module, draw(seed), seeded, watcher=_Quiet()))
        weight, bias = (tensor.detach().flatten() for tensor in network.parameters())
        values = history_values(history) | _errors(weight.tolist(), bias.item())
        values["weight_norm"] = weight.norm().item()
        for quantity, numbers in found.items():
            numbers.append(values[quantity])
    return found


def _identity(recipe: Recipe) -> torch.nn.Module:
    from train.models.inputs import build_input

    return build_input(recipe.features, recipe.mean, recipe.std)


def _errors(weight: list[float], bias: float) -> dict[str, float]:
    """Return the true weights and bias minus learnt ones, where there are as many."""
    if len(weight) != len(LINEAR_WEIGHTS):
        return {}
    errors = [true - learnt for true, learnt in zip(LINEAR_WEIGHTS, weight, strict=True)]
    return numbered("weight_error", errors) | {"bias_error": LINEAR_BIAS - bias}


def _linreg(trained: Trained) -> More:
    weight, bias = (tensor.detach().flatten() for tensor in trained.network.state_dict().values())
    quantities = {"weight_error@0", "weight_error@1", "bias_error"} | {f"test_loss@{epoch}" for epoch in range(3)}
    return More(
        values=_errors(weight.tolist(), bias.item()), seeds=_over_seeds(trained.recipe, draw_linear, quantities)
    )


def _weight_decay(trained: Trained) -> More:
    return More(values={}, seeds=_over_seeds(trained.recipe, draw_wide, {"weight_norm"}))


def draw_linear(seed: int) -> Dataset:
    """Draw the rows of `train.tables.linear` anew; both splits are all of them."""
    rng = np.random.default_rng(seed)
    rows = _rows(rng, LINEAR_ROWS, np.asarray(LINEAR_WEIGHTS), LINEAR_BIAS)
    return make_dataset("linear", rows, rows)


def draw_wide(seed: int) -> Dataset:
    """Draw the rows of `train.tables.wide` anew."""
    rng = np.random.default_rng(seed)
    weights = np.full(WIDE_FEATURES, WIDE_WEIGHT)
    return make_dataset(
        "linear-wide", *(_rows(rng, count, weights, WIDE_BIAS) for count in (WIDE_TRAIN_ROWS, WIDE_TEST_ROWS))
    )


def _rows(rng: np.random.Generator, count: int, weights: NDArray[np.float64], bias: float) -> Split:
    inputs = rng.standard_normal((count, len(weights)))
    targets = inputs @ weights + bias + rng.normal(0, NOISE_STD, size=count)
    return Split(inputs=inputs.astype(np.float32), targets=targets[:, np.newaxis].astype(np.float32))


def _untrained(trained: Trained) -> More:
    """Test the network before training, over seeds."""
    targets = torch.from_numpy(trained.dataset.test.targets)
    shares = []
    for seed in SEEDS:
        logits = trained.outputs(fresh_network(replace(trained.recipe, seed=seed)))
        shares.append((decide(logits) == targets).double().mean().item())
    return More(values={"untrained_least": min(shares), "untrained_greatest": max(shares)}, seeds={})


def _nine_samples(trained: Trained) -> More:
    """Look at the test images that the notes draw by `random.sample` after `random.seed(42)`."""
    rows = random.Random(42).sample(range(len(trained.dataset.test)), SAMPLES)  # noqa: S311 - as the notes draw
    targets = torch.from_numpy(trained.dataset.test.targets)[rows]
    probabilities = trained.outputs()[rows].softmax(dim=1)
    right = (probabilities.argmax(dim=1) == targets).sum().item()
    return More(
        values={
            **numbered("sample_true_class", targets),
            **numbered("sample_probability", probabilities.amax(dim=1)),
            "samples_right": right,
        },
        seeds={},
    )


MORE: dict[str, Callable[[Trained], More]] = {
    "fashion-v0": _over_batches,
    "fashion-v1": _over_batches,
    "food-tinyvgg": _over_batches,
    "food-tinyvgg-augmented": _over_batches,
    "circles-v2": _circles,
    "linreg": _linreg,
    "linreg-scratch": _linreg,
    "weight-decay-0": _weight_decay,
    "weight-decay-3": _weight_decay,
    "fashion-softmax-scratch": _untrained,
    "fashion-tinyvgg": _nine_samples,
}
