"""Learning rates from epoch to epoch, momentum, and where they are recorded."""

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from tests.train.histories import Quiet
from train.data import load_dataset
from train.device import choose_device
from train.fit import fit
from train.optimizer import build_optimizer
from train.recipes.recipe import ScheduleName
from train.recipes.registry import RECIPES
from train.run import build_network
from train.schedule import PLATEAU_EPOCHS, SCHEDULES, advance

LINE = RECIPES["line-parameters"]


def learning_rates(schedule: str, epochs: int, validation: float = 0.0) -> list[float]:
    recipe = replace(LINE, schedule=schedule, epochs=epochs, validation=validation)
    fitted = fit(recipe, data_root=Path("unused"), choice=choose_device("cpu"), watcher=Quiet())
    assert fitted.run.schedule == schedule
    return [metrics.learning_rate for metrics in fitted.history]


def test_choices_are_the_registry() -> None:
    assert tuple(SCHEDULES) == get_args(ScheduleName)


def test_learning_rates_are_those_of_the_formulas() -> None:
    assert learning_rates("constant", 3) == [0.01] * 3
    assert learning_rates("step", 6) == pytest.approx([0.01, 0.01, 0.007, 0.007, 0.0049, 0.0049])
    cosine = [0.005 * (1 + math.cos(math.pi * epoch / 8)) for epoch in range(8)]
    assert learning_rates("cosine", 8) == pytest.approx(cosine)


def test_plateau_halves_after_epochs_without_a_better_loss() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = SCHEDULES["plateau"](optimizer, 10)
    rates = []
    for loss in [5.0, 4.0, *[4.0] * (PLATEAU_EPOCHS + 1), 3.0]:
        optimizer.step()
        advance(schedule, loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0] * (PLATEAU_EPOCHS + 2) + [0.5, 0.5]
    with pytest.raises(ValueError, match="schedule plateau needs a validation loss, but there is none"):
        advance(schedule, None)
    assert learning_rates("plateau", 3, validation=0.2) == [0.01] * 3


def test_momentum_is_torchs() -> None:
    recipe = replace(LINE, momentum=0.9, epochs=20)
    fitted = fit(recipe, data_root=Path("unused"), choice=choose_device("cpu"), watcher=Quiet())
    assert fitted.run.momentum == 0.9
    rows = load_dataset(recipe, Path("unused")).train
    torch.manual_seed(recipe.seed)
    plain = build_network(recipe.factory, recipe.factory_args)
    optimizer = torch.optim.SGD(plain.parameters(), lr=recipe.learning_rate, momentum=0.9)
    for _ in range(20):
        loss = torch.nn.L1Loss()(plain(torch.from_numpy(rows.inputs)), torch.from_numpy(rows.targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(torch.equal(tensor, fitted.weights[name]) for name, tensor in plain.state_dict().items())
    network = torch.nn.Linear(1, 1)
    assert build_optimizer(network, recipe).param_groups[0]["momentum"] == 0.9
    decayed = build_optimizer(network, replace(recipe, weight_decay=0.1))
    assert [group["weight_decay"] for group in decayed.param_groups] == [0.1, 0]
