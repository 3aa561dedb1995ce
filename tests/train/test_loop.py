"""The training loop: reproducible, weighted by rows, stopped cleanly, and not fooled by a loss that is no number."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch.utils.data import DataLoader, TensorDataset

from train.data import load_dataset
from train.dataset import Dataset
from train.device import choose_device
from train.fit import Fitted, fit
from train.loop import EVALUATION_BATCH, Stopped, Totals, TrainingError, evaluate, to_device, train
from train.models.image_input import ImageInput
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES
from train.row_order import RowOrder
from train.run import EpochMetrics, build_network

SHORT = replace(RECIPES["digits"], epochs=2)
CPU = torch.device("cpu")


class Notebook:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int]] = []
        self.epochs: list[EpochMetrics] = []

    def batch_done(self, epoch: int, totals: Totals, rows: int) -> None:
        self.rows.append((epoch, totals.rows, rows))

    def epoch_done(self, metrics: EpochMetrics) -> None:
        self.epochs.append(metrics)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(RECIPES["digits"], Path("unused"))


def fit_digits(recipe: Recipe) -> Fitted:
    fitted = fit(recipe, data_root=Path("unused"), choice=choose_device("cpu"), watcher=Notebook())
    assert fitted is not None
    return fitted


def test_same_seed_gives_the_same_weights() -> None:
    first, second, other = fit_digits(SHORT), fit_digits(SHORT), fit_digits(replace(SHORT, seed=43))
    assert first.weights.keys() == second.weights.keys()
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert not any(torch.equal(first.weights[name], other.weights[name]) for name in first.weights)
    assert [replace(metrics, duration_s=0) for metrics in first.history] == [
        replace(metrics, duration_s=0) for metrics in second.history
    ]


def test_watcher_sees_every_row_and_epoch() -> None:
    watcher = Notebook()
    fitted = fit(SHORT, data_root=Path("unused"), choice=choose_device("cpu"), watcher=watcher)
    assert fitted is not None
    assert tuple(watcher.epochs) == fitted.history
    assert [metrics.epoch for metrics in watcher.epochs] == [1, 2]
    assert [entry for entry in watcher.rows if entry[1] == 1437] == [(1, 1437, 1437), (2, 1437, 1437)]
    assert len(watcher.rows) == 2 * 45


def test_evaluation_is_weighted_by_rows_and_without_dropout(digits: Dataset) -> None:
    recipe = RECIPES["digits"]
    torch.manual_seed(0)
    network, image_input = build_network(recipe.factory, recipe.factory_args), ImageInput(recipe.mean, recipe.std)
    network.train()
    rows = 2 * EVALUATION_BATCH + 1  # the last batch has one row, which a mean over batches would weigh too much
    split = replace(digits.train, inputs=digits.train.inputs[:rows], targets=digits.train.targets[:rows])
    loss, accuracy = evaluate(network, image_input, to_device(split, CPU))
    assert not network.training
    with torch.inference_mode():
        probabilities = network.double()(image_input.double()(torch.from_numpy(split.inputs))).softmax(dim=1).numpy()
    assert loss == pytest.approx(log_loss(split.targets, probabilities), rel=1e-6)
    assert accuracy == accuracy_score(split.targets, probabilities.argmax(axis=1))


def test_dropout_left_on_changes_the_logits(digits: Dataset) -> None:
    recipe = RECIPES["digits"]
    network, image_input = build_network(recipe.factory, recipe.factory_args), ImageInput(recipe.mean, recipe.std)
    pixels = image_input(torch.from_numpy(digits.test.inputs[:8]))
    assert torch.equal(network.eval()(pixels), network(pixels))
    assert not torch.equal(network.train()(pixels), network(pixels))


def test_augmentation_is_for_training_only(digits: Dataset) -> None:
    with_it, without = fit_digits(SHORT), fit_digits(replace(SHORT, augmentation=None))
    assert without.history[0].train_loss < with_it.history[0].train_loss
    network = build_network(SHORT.factory, SHORT.factory_args)
    network.load_state_dict(with_it.weights)
    loss, accuracy = evaluate(network, ImageInput(SHORT.mean, SHORT.std), to_device(digits.test, CPU))
    assert (loss, accuracy) == (with_it.history[-1].test_loss, with_it.history[-1].test_top1_accuracy)


def test_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"the training loss of epoch 1 is (nan|inf), .* --learning-rate below 1e\+10"
    ):
        fit_digits(replace(SHORT, optimizer="sgd", learning_rate=1e10))
    assert len(fit_digits(replace(SHORT, optimizer="sgd", learning_rate=0.1, epochs=1)).history) == 1


@pytest.mark.parametrize(
    ("batches", "epochs"),
    [pytest.param(44, 0, id="first-epoch"), pytest.param(46, 1, id="second-epoch"), pytest.param(91, 2, id="never")],
)
def test_stop_keeps_the_last_whole_epoch(digits: Dataset, batches: int, epochs: int) -> None:
    watcher = Notebook()
    choice = choose_device("cpu")
    fitted = fit(
        SHORT, data_root=Path("unused"), choice=choice, watcher=watcher, stop=lambda: len(watcher.rows) >= batches
    )
    if epochs == 0:
        assert fitted is None
        return
    assert fitted is not None
    assert (fitted.run.epochs_done, fitted.run.finished) == (epochs, epochs == 2)
    whole = fit_digits(replace(SHORT, epochs=epochs))
    assert all(torch.equal(fitted.weights[name], whole.weights[name]) for name in whole.weights)


def test_stop_in_the_evaluation(digits: Dataset) -> None:
    network = build_network(SHORT.factory, SHORT.factory_args)
    image_input = ImageInput(SHORT.mean, SHORT.std)
    with pytest.raises(Stopped):
        evaluate(network, image_input, to_device(digits.test, CPU), stop=lambda: True)
    with pytest.raises(Stopped):
        next(train(network, image_input, digits, SHORT, watcher=Notebook(), stop=lambda: True))


def test_sgd_step_is_the_textbook_one(digits: Dataset) -> None:
    recipe = replace(
        RECIPES["digits"], optimizer="sgd", learning_rate=0.5, batch_size=2000, epochs=1, augmentation=None
    )
    recipe = replace(recipe, factory_args={**recipe.factory_args, "dropout": 0.0})
    torch.manual_seed(3)
    network, image_input = build_network(recipe.factory, recipe.factory_args), ImageInput(recipe.mean, recipe.std)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    logits = network(image_input(torch.from_numpy(digits.train.inputs)))
    chosen = logits.log_softmax(dim=1)[torch.arange(len(logits)), torch.from_numpy(digits.train.targets)]
    gradients = torch.autograd.grad(-chosen.mean(), list(network.parameters()))
    next(train(network, image_input, digits, recipe, watcher=Notebook()))
    for (name, parameter), gradient in zip(network.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.detach(), before[name] - 0.5 * gradient, rtol=1e-4, atol=1e-6)


def test_rows_come_in_the_order_of_the_notes_data_loaders() -> None:
    rows = TensorDataset(torch.arange(100))
    training, test = DataLoader(rows, batch_size=32, shuffle=True), DataLoader(rows, batch_size=32)
    torch.manual_seed(42)
    order = RowOrder(100, 42)
    for _ in range(3):
        expected = torch.cat([batch for (batch,) in training])
        assert torch.equal(order.draw(), expected)
        list(test)
    assert not torch.equal(order.draw(), RowOrder(100, 42).draw())
