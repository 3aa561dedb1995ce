"""The validation split: stratified, seeded, apart from training, and the only thing to choose by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.histories import Quiet, make_history
from train.data import load_dataset
from train.dataset import DataError, Split
from train.device import choose_device
from train.early_stopping import best_epoch, patience_is_spent
from train.fit import Fitted, fit
from train.loop import evaluate, mean_loss, to_device
from train.models.inputs import build_input
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import RECIPES
from train.run import build_network
from train.validation import set_aside


def train_recipe(recipe: Recipe) -> Fitted:
    fitted = fit(recipe, data_root=Path("unused"), choice=choose_device("cpu"), watcher=Quiet())
    assert fitted is not None
    return fitted


def numbered(counts: list[int]) -> Split:
    """Rows that carry their number, of so many rows per class, in mixed order."""
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = len(targets)
    return Split(inputs=np.arange(rows, dtype=np.float32)[:, np.newaxis], targets=targets.astype(np.int64))


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        pytest.param([100, 50, 50], 0.1, [10, 5, 5], id="even"),
        pytest.param([97, 51, 52], 0.1, [10, 5, 5], id="remainders"),
        pytest.param([99, 1], 0.5, [50, 0], id="one-row"),
        pytest.param([90, 9, 1], 0.9, [82, 8, 0], id="last-rows-stay"),
    ],
)
def test_each_class_gives_its_share(counts: list[int], share: float, expected: list[int]) -> None:
    train, validation = set_aside(numbered(counts), share, seed=1)
    assert np.bincount(validation.targets, minlength=len(counts)).tolist() == expected
    assert (np.bincount(train.targets, minlength=len(counts)) + expected).tolist() == counts


def test_among_equal_classes_the_seed_decides_which_gives_more() -> None:
    gave = [np.bincount(set_aside(numbered([3, 3, 3]), 0.12, seed=seed)[1].targets, minlength=3) for seed in range(20)]
    assert {tuple(counts) for counts in gave} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}


def test_a_class_is_never_left_without_a_row_to_train_on() -> None:
    train, _ = set_aside(numbered([5, 1, 1]), 4 / 7, seed=0)
    assert np.bincount(train.targets).tolist() == [1, 1, 1]
    message = r"validation 0.8 of 7 training rows is 6 rows, which leaves one of the 3 classes no row .* --validation$"
    with pytest.raises(DataError, match=message):
        set_aside(numbered([5, 1, 1]), 0.8, seed=0)


def test_every_row_is_on_one_side_and_in_order() -> None:
    split = numbered([40, 60])
    train, validation = set_aside(split, 0.25, seed=1)
    rows = np.concatenate([train.inputs[:, 0], validation.inputs[:, 0]])
    assert sorted(rows.tolist()) == list(range(100))
    for part in (train, validation):
        assert (np.diff(part.inputs[:, 0]) > 0).all()
        assert np.array_equal(part.targets, split.targets[part.inputs[:, 0].astype(int)])


def test_the_seed_decides_which_rows() -> None:
    split = numbered([40, 60])
    first, again, other = (set_aside(split, 0.2, seed=seed)[1].inputs for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_values_are_set_aside_too() -> None:
    split = Split(inputs=np.zeros((10, 2), np.float32), targets=np.arange(10, dtype=np.float32)[:, np.newaxis])
    train, validation = set_aside(split, 0.2, seed=0)
    assert (len(train), len(validation)) == (8, 2)


@pytest.mark.parametrize(("share", "rows"), [(0.01, 0), (0.99, 10)])
def test_an_empty_side_is_refused(share: float, rows: int) -> None:
    with pytest.raises(DataError, match=rf"validation {share} of 10 training rows is {rows} rows, but at least one"):
        set_aside(numbered([5, 5]), share, seed=0)


def test_validation_rows_are_measured_and_never_trained_on() -> None:
    recipe = replace(RECIPES["blobs"], epochs=3, validation=0.25)
    fitted = train_recipe(recipe)
    train, validation = set_aside(load_dataset(recipe, Path("unused")).train, 0.25, seed=recipe.seed)
    network = build_network(recipe.factory, recipe.factory_args)
    network.load_state_dict(fitted.weights)
    input_module = build_input(recipe.features, recipe.mean, recipe.std)
    last = fitted.history[-1]
    expected = evaluate(network, input_module, to_device(validation, torch.device("cpu")))
    assert (last.validation_loss, last.validation_top1_accuracy) == expected
    data = fitted.run.data
    assert (data.train_rows, data.validation_rows, data.test_rows) == (600, 200, 200)
    assert {name: sum(counts) for name, counts in data.class_counts.items()} == {
        "train": 600,
        "test": 200,
        "validation": 200,
    }
    assert fitted.run.metrics["validation_loss"] == last.validation_loss
    # the very training that the rows left over give on their own
    torch.manual_seed(recipe.seed)
    plain = build_network(recipe.factory, recipe.factory_args)
    optimizer = torch.optim.SGD(plain.parameters(), lr=recipe.learning_rate)
    for _ in range(3):
        loss = mean_loss(plain(torch.from_numpy(train.inputs)), torch.from_numpy(train.targets), "cross-entropy")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(torch.equal(tensor, fitted.weights[name]) for name, tensor in plain.state_dict().items())


def test_without_a_share_nothing_is_set_aside() -> None:
    fitted = train_recipe(replace(RECIPES["blobs"], epochs=1))
    assert fitted.history[0].validation_loss is None
    assert fitted.run.data.validation_rows == 0
    assert "validation_loss" not in fitted.run.metrics
    assert fitted.run.data.class_counts.keys() == {"train", "test"}


@pytest.mark.parametrize(
    ("validation", "best", "spent"),
    [
        pytest.param([3.0], 1, False, id="one"),
        pytest.param([3.0, 2.0, 2.5], 2, False, id="one-worse"),
        pytest.param([3.0, 2.0, 2.5, 2.1], 2, True, id="two-worse"),
        pytest.param([3.0, 2.0, 2.0, 2.0], 2, True, id="equal-is-not-better"),
        pytest.param([3.0, 2.0, 2.5, 1.9], 4, False, id="better-again"),
    ],
)
def test_patience_of_two(validation: list[float], best: int, spent: bool) -> None:
    history = make_history(validation, [9 - loss for loss in validation], validation=validation)
    assert best_epoch(history) == best
    assert patience_is_spent(history, 2) == spent
    assert not patience_is_spent(history, None)


def test_the_test_split_is_never_chosen_by() -> None:
    with pytest.raises(ValueError, match="epoch 1 has no validation loss; the test split is not used to choose"):
        best_epoch(make_history([1.0], [1.0]))


def test_early_stopping_keeps_the_best_epoch() -> None:
    recipe = replace(RECIPES["weight-decay-0"], validation=0.25, patience=3, epochs=60, learning_rate=0.02)
    fitted = train_recipe(recipe)
    run = fitted.run
    losses = [metrics.validation_loss for metrics in fitted.history]
    assert run.best_epoch == 1 + losses.index(min(losses)) < run.epochs_done < 60
    assert run.epochs_done == run.best_epoch + 3
    assert run.finished
    assert run.stopped_early
    kept = fitted.history[run.best_epoch - 1]
    assert (run.metrics["validation_loss"], run.metrics["test_loss"]) == (kept.validation_loss, kept.test_loss)
    # the same weights as training just so many epochs, and other ones than training on
    whole = train_recipe(replace(recipe, patience=None, epochs=run.best_epoch))
    assert all(torch.equal(tensor, fitted.weights[name]) for name, tensor in whole.weights.items())
    last = train_recipe(replace(recipe, patience=None, epochs=run.epochs_done))
    assert not all(torch.equal(tensor, fitted.weights[name]) for name, tensor in last.weights.items())
    assert (last.run.best_epoch, last.run.kept_epoch, last.run.stopped_early) == (None, run.epochs_done, False)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        pytest.param(
            "digits", {"validation": 1.0}, "validation 1.0, but a share of the training split from 0 to", id="1"
        ),
        pytest.param("digits", {"validation": -0.1}, "validation -0.1, but a share of the", id="negative"),
        pytest.param("digits", {"validation": float("nan")}, "validation nan, but a share of the", id="nan"),
        pytest.param(
            "digits",
            {"patience": 3},
            "patience 3 but no validation split, and the test split is not used to choose; give --validation 0.1",
            id="patience",
        ),
        pytest.param(
            "digits", {"validation": 0.1, "patience": 0}, "patience 0, but at least 1 was expected", id="zero"
        ),
        pytest.param("digits", {"schedule": "plateau"}, "schedule plateau but no validation split", id="plateau"),
        pytest.param("linreg", {"class_weights": "balanced"}, "a regression has no classes", id="regression"),
        pytest.param("linreg", {"momentum": 1.0}, "momentum 1.0, but a number from 0 to below 1", id="momentum"),
        pytest.param("digits", {"momentum": 0.9}, "momentum 0.9 with adam, but only sgd takes it", id="adam"),
    ],
)
def test_settings_that_do_not_go_together(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(RECIPES[name], **changes)


def test_a_validation_loss_that_is_no_number_is_refused() -> None:
    from train.loop import TrainingError

    recipe = replace(RECIPES["linreg"], validation=0.5, learning_rate=1e30, epochs=5, loss="mse", batch_size=None)
    with pytest.raises(TrainingError, match=r"the (training|validation) loss of epoch \d is (inf|nan), but a finite"):
        train_recipe(recipe)
