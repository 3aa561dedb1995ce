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

from tests.conftest import ROOT
from train.data import load_dataset
from train.device import DeviceChoice
from train.fit import Fitted, fit
from train.loop import TrainingError, decide, mean_loss
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import RECIPES
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
