"""The data sets: read, checked against their digests, split, and prepared exactly as serving prepares an image."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from serve.preprocess import prepare_arrays
from train.dataset import DataError, Dataset, Split, make_dataset
from train.fashion_mnist import read_fashion_mnist
from train.food import read_food
from train.image_folder import find_folder, read_image_folder
from train.recipes.recipe import Recipe
from train.tables import TABLES, Rows

DIGITS_SPLIT_SEED = 0
DIGITS_TEST_SHARE = 0.2


def load_dataset(recipe: Recipe, data_root: Path, *, download: bool = True) -> Dataset:
    """Read a recipe's data and prepare it by `serve.preprocess` with the recipe's own specification.

    Args:
        recipe: Says which data set, and how an image is prepared.
        data_root: Where data sets lie, or are downloaded to.
        download: Whether data that is not there may be downloaded.

    Raises:
        MissingDataError: the data is not there.
        DataError: the data is unknown, missing and cannot be downloaded, damaged, or has other classes than the recipe.
    """
    if recipe.folder is not None and recipe.preprocessing is not None:
        return read_image_folder(
            find_folder(recipe.folder.name, data_root),
            folder=recipe.folder,
            labels=recipe.labels,
            preprocessing=recipe.preprocessing,
        )
    read = DATASETS.get(recipe.data)
    if read is None:
        raise DataError(f"recipe {recipe.name} has data {recipe.data!r}, but one of {', '.join(DATASETS)} was expected")
    if data_root.exists() and not data_root.is_dir():
        raise DataError(f"data root {data_root} is a file, but a folder was expected; give another --data-root")
    dataset = read(data_root, download)
    for split in (dataset.train, dataset.test):
        _check_split(recipe, dataset.name, split)
    if recipe.preprocessing is None:
        return dataset
    return replace(
        dataset,
        train=replace(dataset.train, inputs=prepare_arrays(dataset.train.inputs, recipe.preprocessing)),
        test=replace(dataset.test, inputs=prepare_arrays(dataset.test.inputs, recipe.preprocessing)),
    )


def _check_split(recipe: Recipe, name: str, split: Split) -> None:
    if (split.inputs.ndim == 2) != bool(recipe.features):
        kind = "a table" if recipe.features else "images"
        raise DataError(f"recipe {recipe.name} takes {kind}, but data {name} holds the other kind")
    if recipe.features and split.inputs.shape[1] != len(recipe.features):
        raise DataError(
            f"data {name} has {split.inputs.shape[1]} columns, but recipe {recipe.name} has {len(recipe.features)} "
            "features"
        )
    found = split.targets.shape[1] if recipe.task == "regression" else int(split.targets.max()) + 1
    if found > len(recipe.labels):
        raise DataError(f"data {name} has {found} classes, but recipe {recipe.name} has {len(recipe.labels)} labels")


def majority_share(split: Split) -> float:
    """Return the accuracy of always naming the commonest class of a split, fraction in (0, 1]."""
    return float(np.bincount(split.targets).max() / len(split))


def read_digits(data_root: Path, download: bool = True) -> Dataset:  # noqa: ARG001 - scikit-learn carries this data set itself
    """Read scikit-learn's 1,797 handwritten digits, 8x8; a fixed fifth of each class is the test split."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

    digits = load_digits()
    images = np.minimum(digits.images * 16, 255).astype(np.uint8)[..., np.newaxis]  # values are 0 to 16
    class_index = digits.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(images)), test_size=DIGITS_TEST_SHARE, stratify=class_index, random_state=DIGITS_SPLIT_SEED
    )
    return make_dataset(
        "digits",
        Split(inputs=images[train], targets=class_index[train]),
        Split(inputs=images[test], targets=class_index[test]),
    )


def _table_reader(name: str, make: Callable[[], tuple[Rows, Rows]]) -> Callable[[Path, bool], Dataset]:
    def read(data_root: Path, download: bool = True) -> Dataset:  # noqa: ARG001 - tables are made, not read
        train, test = make()
        return make_dataset(name, Split(inputs=train[0], targets=train[1]), Split(inputs=test[0], targets=test[1]))

    return read


DATASETS: dict[str, Callable[[Path, bool], Dataset]] = {
    "digits": read_digits,
    "fashion-mnist": read_fashion_mnist,
    "pizza-steak-sushi": read_food,
    **{name: _table_reader(name, make) for name, make in TABLES.items()},
}
