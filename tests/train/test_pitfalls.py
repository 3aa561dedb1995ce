"""Mistakes that the source notes warn of or make, tried here; docs/pitfalls.md lists them with their tests."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import ROOT
from train.data import DATASETS, load_dataset
from train.device import DeviceChoice
from train.fit import Fitted, fit
from train.loop import Stopped, Totals, TrainingError, decide, mean_loss, to_device, train
from train.memory import memory_for
from train.models.inputs import build_input
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import RECIPES
from train.run import build_network
from train.state import TrainingState
from train.studies.dataloader import Images

CPU = DeviceChoice(device=torch.device("cpu"), reason="asked for")


class Silent:
    def batch_done(self, *_: object) -> None: ...
    def epoch_done(self, *_: object) -> None: ...


def train_a_little(recipe: Recipe, tmp_path: Path) -> Fitted:
    fitted = fit(recipe, data_root=tmp_path, choice=CPU, watcher=Silent())
    assert fitted is not None
    return fitted


def test_a_default_device_is_refused_before_it_breaks_the_shuffling(tmp_path: Path) -> None:
    torch.set_default_device("meta")
    try:
        with pytest.raises(
            TrainingError, match=r"torch's default device is meta, but .* take torch.set_default_device"
        ):
            train_a_little(replace(RECIPES["blobs"], epochs=1), tmp_path)
    finally:
        torch.set_default_device(None)


def test_training_leaves_the_data_alone(tmp_path: Path) -> None:
    recipe = replace(RECIPES["digits"], epochs=1)
    before, after = load_dataset(recipe, tmp_path), load_dataset(recipe, tmp_path)
    train_a_little(recipe, tmp_path)
    assert np.array_equal(before.train.inputs, after.train.inputs)
    assert before.sha256 == load_dataset(recipe, tmp_path).sha256


def test_one_row_and_one_output_keep_their_dimension() -> None:
    assert decide(torch.tensor([[0.3]])).shape == (1,)
    loss = mean_loss(torch.tensor([[0.3]]), torch.tensor([1]), "binary-cross-entropy")
    assert loss == functional.binary_cross_entropy_with_logits(torch.tensor(0.3), torch.tensor(1.0))


def test_a_logit_of_exactly_zero_is_class_1_although_round_says_0() -> None:
    assert decide(torch.tensor([[0.0]])).tolist() == [1]
    assert torch.round(torch.sigmoid(torch.tensor(0.0))) == 0


@pytest.mark.parametrize("loss", ["mse", "l1", "half-mse"])
def test_predictions_and_targets_are_never_broadcast(loss: str) -> None:
    with pytest.raises(
        TrainingError, match=r"the network gives \[4, 1\], but targets are \[4\]; both would be broadcast"
    ):
        mean_loss(torch.zeros(4, 1), torch.zeros(4), loss)


def test_a_binary_loss_is_refused_for_many_classes() -> None:
    with pytest.raises(RecipeError, match="has loss binary-cross-entropy"):
        replace(RECIPES["blobs"], loss="binary-cross-entropy")


def test_a_class_beyond_the_labels_is_refused_before_the_loss_sees_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data blobs has 4 classes, but recipe blobs has 3 labels"):
        load_dataset(replace(RECIPES["blobs"], labels=("a", "b", "c")), tmp_path)


def test_data_can_be_sent_to_worker_processes_that_start_from_nothing() -> None:
    images = Images(np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64), resize=True)
    assert len(pickle.loads(pickle.dumps(images))) == 2  # noqa: S301 - our own bytes; workers get data this way


def test_importing_the_package_trains_nothing_and_prints_nothing(tmp_path: Path) -> None:
    modules = sorted(
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
        for path in (ROOT / "train").rglob("*.py")
        if path.stem not in {"__init__", "__main__"}
    )
    code = f"import importlib\nfor name in {modules}: importlib.import_module(name)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert (result.stdout, result.stderr) == (b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_memory_that_runs_out_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr("train.loop.mean_loss", exhausted)
    with pytest.raises(TrainingError, match=r"no memory for batch_size 16.*give a smaller --batch-size"):
        train_a_little(replace(RECIPES["digits"], epochs=1, batch_size=16), tmp_path)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("train.loop.to_device", r"cpu has no memory for the 1,797 rows of digits \(CUDA out.*\); give --device cpu"),
        ("train.fit.build_network", r"cpu has no memory for the network of 121,994 numbers \(CUDA out"),
        ("train.loop.evaluate", r"cpu has no memory for batch_size 32"),
        ("train.loop.Totals.means", r"cpu has no memory for batch_size 32"),
    ],
)
def test_it_is_said_for_what_there_is_no_memory(
    place: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(place, exhausted)
    with pytest.raises(TrainingError, match=message):
        train_a_little(replace(RECIPES["digits"], epochs=1), tmp_path)


def test_other_errors_are_not_taken_for_full_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_for(CPU.device, "x", "y"):
        raise RuntimeError("shapes")
    with pytest.raises(TrainingError, match="cpu has no memory for x"), memory_for(CPU.device, "x", "y"):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")


class CountReads(TorchDispatchMode):
    """Counts how often a number is fetched from the device, by `item`, `float`, `bool` or a print."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(keywords or {}))


class ReadEveryBatch(Silent):
    def batch_done(self, _epoch: int, totals: Totals, _rows: int) -> None:
        totals.means()


def reads(recipe: Recipe, tmp_path: Path, watcher: object) -> int:
    with CountReads() as counter:
        fit(recipe, data_root=tmp_path, choice=CPU, watcher=watcher)
    return counter.reads


def test_the_loss_is_not_read_every_batch(tmp_path: Path) -> None:
    few, many = (replace(RECIPES["blobs"], epochs=1, batch_size=rows) for rows in (400, 20))
    assert 0 < reads(few, tmp_path, Silent()) == reads(many, tmp_path, Silent())
    assert reads(few, tmp_path, ReadEveryBatch()) < reads(many, tmp_path, ReadEveryBatch())


def test_data_follows_the_network(tmp_path: Path) -> None:
    recipe = replace(RECIPES["blobs"], epochs=1, batch_size=100)
    meta = torch.device("meta")  # computes nothing, but knows where everything lies
    dataset = load_dataset(recipe, tmp_path)
    network = build_network(recipe.factory, recipe.factory_args).to(meta)
    input_module = build_input(recipe.features, recipe.mean, recipe.std).to(meta)
    state = TrainingState(network, recipe, rows=len(dataset.train), device=CPU.device)
    with pytest.raises(Stopped):
        next(train(network, input_module, dataset, recipe, watcher=Silent(), stop=lambda: True, state=state))
    with pytest.raises(RuntimeError, match="meta"):
        network(input_module(to_device(dataset.train, CPU.device).inputs))


def test_the_test_split_reaches_neither_weights_nor_learning_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(
        RECIPES["blobs"], epochs=30, validation=0.25, patience=8, schedule="plateau", learning_rate=0.1, batch_size=32
    )
    one = train_a_little(recipe, tmp_path)
    dataset = load_dataset(recipe, tmp_path)
    other = replace(dataset, test=replace(dataset.test, targets=(dataset.test.targets + 1) % 4))
    monkeypatch.setitem(DATASETS, "blobs", lambda *_: other)
    two = train_a_little(recipe, tmp_path)
    assert [metrics.test_loss for metrics in one.history] != [metrics.test_loss for metrics in two.history]
    rates = [metrics.learning_rate for metrics in one.history]
    assert len(set(rates)) > 1
    assert rates == [metrics.learning_rate for metrics in two.history]
    assert one.run.best_epoch == two.run.best_epoch
    assert all(torch.equal(tensor, two.weights[name]) for name, tensor in one.weights.items())
