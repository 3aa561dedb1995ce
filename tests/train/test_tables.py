"""The tabular data sets: what the notes say of them, and the same every time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from serve.bundle import Feature
from train import tables
from train.data import DATASETS
from train.dataset import Dataset
from train.models.inputs import build_input
from train.recipes.registry import RECIPES


def read(name: str) -> Dataset:
    return DATASETS[name](Path("unused"), False)


@pytest.mark.parametrize(
    ("name", "train_shape", "test_shape", "target_shape"),
    [
        pytest.param("line-50", (40, 1), (10, 1), (40, 1), id="line-50"),
        pytest.param("line-100", (80, 1), (20, 1), (80, 1), id="line-100"),
        pytest.param("linear", (1000, 2), (1000, 2), (1000, 1), id="linear"),
        pytest.param("linear-wide", (20, 200), (100, 200), (20, 1), id="linear-wide"),
        pytest.param("polynomial", (100, 1), (100, 1), (100, 1), id="polynomial"),
        pytest.param("circles", (800, 2), (200, 2), (800,), id="circles"),
        pytest.param("blobs", (800, 2), (200, 2), (800,), id="blobs"),
        pytest.param("blobs-narrow", (800, 2), (200, 2), (800,), id="blobs-narrow"),
        pytest.param("house-prices", (4, 2), (4, 2), (4, 1), id="house-prices"),
    ],
)
def test_shapes_and_repeatability(
    name: str, train_shape: tuple[int, ...], test_shape: tuple[int, ...], target_shape: tuple[int, ...]
) -> None:
    dataset = read(name)
    assert dataset.name == name
    assert (dataset.train.inputs.shape, dataset.test.inputs.shape) == (train_shape, test_shape)
    assert dataset.train.targets.shape == target_shape
    assert read(name).sha256 == dataset.sha256


def test_every_table_is_a_data_set_of_its_own() -> None:
    assert set(tables.TABLES) <= set(DATASETS)
    assert len({read(name).sha256 for name in tables.TABLES}) == len(tables.TABLES)


@pytest.mark.parametrize("points", [50, 100])
def test_line_ends_in_its_test_rows(points: int) -> None:
    (inputs, targets), (test_inputs, test_targets) = tables.line(points)
    assert inputs[0, 0] == 0
    assert inputs.max() < test_inputs.min() == pytest.approx(0.8)
    np.testing.assert_allclose(targets, 0.7 * inputs + 0.3, rtol=1e-6)
    np.testing.assert_allclose(test_targets, 0.7 * test_inputs + 0.3, rtol=1e-6)


def test_linear_rows_hold_the_notes_weights() -> None:
    rows, test_rows = tables.linear()
    np.testing.assert_array_equal(rows[0], test_rows[0])
    columns = np.column_stack([rows[0], np.ones(len(rows[0]))]).astype(np.float64)
    found, *_ = np.linalg.lstsq(columns, rows[1].astype(np.float64), rcond=None)
    np.testing.assert_allclose(found[:, 0], [2, -3.4, 4.2], atol=2e-3)
    assert np.std(rows[1] - columns @ found) == pytest.approx(0.01, rel=0.1)


def test_wide_rows_hold_the_notes_weights() -> None:
    for inputs, targets in tables.wide():
        noise = targets[:, 0] - 0.01 * inputs.sum(axis=1) - 0.05
        assert 0.005 < noise.std() < 0.015
        assert abs(noise.mean()) < 0.01


def test_polynomial_is_a_cubic_with_noise() -> None:
    train, test = tables.polynomial()
    assert not np.array_equal(train[0], test[0])
    for inputs, targets in (train, test):
        clean = 5 + 1.2 * inputs - 3.4 * inputs**2 / 2 + 5.6 * inputs**3 / 6
        assert np.std(targets - clean) == pytest.approx(0.1, rel=0.25)


def test_circles_are_those_of_the_notes() -> None:
    from sklearn.datasets import make_circles

    whole, labels = make_circles(1000, noise=0.03, random_state=42)
    np.testing.assert_allclose(whole[:2], [[0.7542, 0.2315], [-0.7562, 0.1533]], atol=5e-5)
    assert labels[:5].tolist() == [1, 1, 1, 1, 0]
    (inputs, classes), (_, test_classes) = tables.circles()
    assert test_classes[:10].tolist() == [1, 0, 1, 0, 1, 1, 0, 0, 1, 0]
    assert (np.bincount(classes).tolist(), np.bincount(test_classes).tolist()) == ([400, 400], [100, 100])
    radius = np.linalg.norm(inputs, axis=1)
    assert radius[classes == 1].max() < radius[classes == 0].min() + 0.1
    assert RECIPES["circles-v2"].labels[1].startswith("inner")


def test_blobs_are_those_of_the_notes() -> None:
    (_, classes), (_, test_classes) = tables.blobs()
    assert np.bincount(test_classes).tolist() == [49, 41, 53, 57]
    assert test_classes[:10].tolist() == [1, 3, 2, 1, 0, 3, 2, 0, 2, 0]
    assert len(classes) == 800


def test_blobs_can_be_narrower() -> None:
    (wide, classes), _ = tables.blobs()
    (narrow, same), _ = tables.blobs(cluster_std=1.0)
    assert np.array_equal(classes, same)
    spreads = [np.std(rows[classes == 0], axis=0).mean() for rows in (wide, narrow)]
    assert spreads[1] == pytest.approx(spreads[0] / 1.5, rel=1e-3)


def test_house_prices_become_the_columns_of_the_notes() -> None:
    recipe = RECIPES["house-prices"]
    (inputs, prices), _ = tables.house_prices()
    columns = build_input(recipe.features, recipe.mean, recipe.std)(torch.from_numpy(inputs))
    assert (columns + torch.tensor([recipe.mean[0], 0, 0])).tolist() == [[3, 1, 0], [2, 0, 1], [4, 0, 1], [3, 0, 1]]
    assert prices[:, 0].tolist() == [127_500, 106_000, 178_100, 140_000]
    kept = tuple(Feature(name=feature.name, categories=feature.categories) for feature in recipe.features)
    unfilled = build_input(kept, recipe.mean, recipe.std)(torch.from_numpy(inputs))
    assert unfilled.shape[1] == 2  # a category that may not be missing has no column for it
