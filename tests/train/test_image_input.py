"""The floats a network takes: as torchvision makes them, and the same by every way."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor

from serve.bundle import ImagePreprocessing
from serve.preprocess import prepare_arrays, prepare_image
from train.data import load_dataset, read_digits
from train.models.image_input import ImageInput
from train.recipes.registry import RECIPES


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        pytest.param((0.0,), (1.0,), id="identity"),
        pytest.param((0.31,), (0.37,), id="grey"),
        pytest.param((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), id="colour"),
    ],
)
def test_image_input_is_to_tensor_and_normalize(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 7, len(mean)), dtype=np.uint8)
    transform = Compose([ToTensor(), Normalize(mean, std)])
    expected = torch.stack([transform(image) for image in images])
    actual = ImageInput(mean, std)(torch.from_numpy(images))
    assert actual.shape == expected.shape == (5, len(mean), 6, 7)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    wrong = ImageInput(tuple(value + 0.01 for value in mean), std)(torch.from_numpy(images))
    assert not torch.equal(wrong, expected)


def test_image_input_in_float64() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    actual = ImageInput((0.5,), (0.25,)).double()(images)
    torch.testing.assert_close(actual.flatten(), (torch.arange(256).double() / 255 - 0.5) / 0.25, rtol=0, atol=0)


def test_image_input_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="mean has 1 channels, but std has 3"):
        ImageInput((0.5,), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="every value must be above 0"):
        ImageInput((0.5,), (0.0,))


def test_shortcut_of_prepare_arrays_is_the_long_way() -> None:
    spec = RECIPES["fashion-tinyvgg"].preprocessing
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), dtype=np.uint8)
    long_way = np.stack([prepare_image(Image.fromarray(image[..., 0]), spec) for image in images])
    np.testing.assert_array_equal(prepare_arrays(images, spec), long_way)
    assert not np.array_equal(
        prepare_arrays(images, ImagePreprocessing(color="L", height=28, width=28, fit="ink")), long_way
    )


def test_dataset_digits_are_prepared_as_served_images_are() -> None:
    recipe = RECIPES["digits"]
    raw, prepared = read_digits(Path("unused")), load_dataset(recipe, Path("unused"))
    for split in ("train", "test"):
        expected = [
            prepare_image(Image.fromarray(image[..., 0]), recipe.preprocessing) for image in getattr(raw, split).inputs
        ]
        np.testing.assert_array_equal(getattr(prepared, split).inputs, np.stack(expected))


def test_a_digit_in_ink_on_paper_is_prepared_as_one_in_white_on_black() -> None:
    recipe = RECIPES["digits"]
    images = load_dataset(recipe, Path("unused")).test.inputs
    inverted = prepare_arrays(255 - images, recipe.preprocessing)
    assert np.mean(np.abs(inverted.astype(int) - images).max(axis=(1, 2, 3)) <= 1) >= 0.9
