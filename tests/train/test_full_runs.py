"""The recipes trained in full: the accuracy they promise, and digits that people draw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from serve.preprocess import prepare_arrays, prepare_image
from tests.train.drawn_digits import HANDS, draw_digit
from train.data import load_dataset
from train.models.image_input import ImageInput
from train.recipes.registry import RECIPES
from train.run import load_network, read_run

DIGITS = RECIPES["digits"]


@pytest.fixture(scope="module")
def network(digits_run: Path) -> nn.Module:
    return load_network(digits_run, read_run(digits_run))


def predict(network: nn.Module, images: list[np.ndarray]) -> list[int]:
    with torch.inference_mode():
        logits = network(ImageInput(DIGITS.mean, DIGITS.std)(torch.from_numpy(np.stack(images))))
    return logits.argmax(dim=1).tolist()


def test_digits_reach_98_per_cent(digits_run: Path) -> None:
    run = read_run(digits_run)
    assert run.finished
    assert run.metrics["test_top1_accuracy"] >= 0.98


@pytest.mark.parametrize("brush", [20, 28, 36])
def test_drawn_digits_are_recognised(network: nn.Module, brush: int) -> None:
    drawings = [draw_digit(digit, brush=brush) for digit in range(10)]
    assert predict(network, [prepare_image(image, DIGITS.preprocessing) for image in drawings]) == list(range(10))


def test_most_variations_of_drawn_digits_are_recognised(network: nn.Module) -> None:
    cases = [
        (digit, hand, brush, seed)
        for digit, hands in HANDS.items()
        for hand in range(len(hands))
        for brush in (16, 20, 28, 36, 44)
        for seed in range(4)
    ]
    drawings = [draw_digit(digit, hand=hand, brush=brush, seed=seed) for digit, hand, brush, seed in cases]
    white_on_black = [prepare_image(image, DIGITS.preprocessing) for image in drawings]
    actual = predict(network, white_on_black)
    assert np.mean([digit == case[0] for digit, case in zip(actual, cases, strict=True)]) >= 0.93
    black_on_white = [prepare_image(image.point(lambda value: 255 - value), DIGITS.preprocessing) for image in drawings]
    assert predict(network, black_on_white) == actual


def test_enlarged_test_images_keep_their_labels(network: nn.Module) -> None:
    test = load_dataset(DIGITS, Path("unused")).test
    enlarged = [
        np.asarray(Image.fromarray(image[..., 0]).resize((300, 300), Image.Resampling.NEAREST)) for image in test.inputs
    ]
    actual = predict(network, list(prepare_arrays(np.stack(enlarged)[..., np.newaxis], DIGITS.preprocessing)))
    assert np.mean(np.array(actual) == test.targets) >= 0.96


@pytest.mark.slow
def test_tinyvgg_reaches_the_notes_accuracy(fashion_run: Path) -> None:
    run = read_run(fashion_run)
    assert run.finished
    assert abs(run.metrics["test_top1_accuracy"] - 0.884) <= 0.007
    assert run.data.sha256
