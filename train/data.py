"""The data sets: read, checked against their digests, split, and prepared exactly as serving prepares an image."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from serve.preprocess import prepare_arrays
from train.dataset import DataError, Dataset, MissingDataError, Split, make_dataset
from train.food import read_food
from train.recipes.recipe import Recipe
from train.tables import TABLES, Rows

DIGITS_SPLIT_SEED = 0
DIGITS_TEST_SHARE = 0.2

# Size in bytes and sha256 of the unpacked files. Source: zalandoresearch/fashion-mnist, whose .gz files have the md5
# sums that torchvision.datasets.FashionMNIST checks.
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte": (47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": (60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": (7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": (10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
FASHION_MNIST_HOME = "github.com/zalandoresearch/fashion-mnist"


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
    read = DATASETS.get(recipe.data)
    if read is None:
        raise DataError(f"recipe {recipe.name} has data {recipe.data!r}, but one of {', '.join(DATASETS)} was expected")
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


def read_fashion_mnist(data_root: Path, download: bool = True) -> Dataset:
    """Read Fashion-MNIST, 60,000 + 10,000 images of 28x28; it is downloaded when it is not there.

    Raises:
        DataError: a file is damaged, or missing and cannot be downloaded.
    """
    raw = data_root / "FashionMNIST" / "raw"
    if any(not (raw / name).is_file() for name in FASHION_MNIST_FILES):
        if not download:
            raise MissingDataError(
                f"Fashion-MNIST is not in {raw}; give --data-root where it is, or train once to download it"
            )
        _download_fashion_mnist(data_root)
    _check_fashion_mnist(raw)
    from torchvision.datasets import FashionMNIST  # type: ignore[import-untyped]

    def split(*, train: bool) -> Split:
        source = FashionMNIST(data_root, train=train, download=False)
        return Split(inputs=source.data.numpy()[..., np.newaxis], targets=source.targets.numpy())

    return make_dataset("fashion-mnist", split(train=True), split(train=False))


def _table_reader(name: str, make: Callable[[], tuple[Rows, Rows]]) -> Callable[[Path, bool], Dataset]:
    def read(data_root: Path, download: bool = True) -> Dataset:  # noqa: ARG001 - tables are made, not read
        train, test = make()
        return make_dataset(name, Split(inputs=train[0], targets=train[1]), Split(inputs=test[0], targets=test[1]))

    return read


def read_pizza_steak_sushi(data_root: Path, download: bool = True) -> Dataset:
    """Read the photos of pizza, steak and sushi; see `train.food`."""
    return read_food(data_root, download)


DATASETS: dict[str, Callable[[Path, bool], Dataset]] = {
    "digits": read_digits,
    "fashion-mnist": read_fashion_mnist,
    "pizza-steak-sushi": read_pizza_steak_sushi,
    **{name: _table_reader(name, make) for name, make in TABLES.items()},
}


def _check_fashion_mnist(raw: Path) -> None:
    for name, (size_bytes, sha256) in FASHION_MNIST_FILES.items():
        path = raw / name
        found_bytes = path.stat().st_size
        if found_bytes != size_bytes:
            raise DataError(
                f"{path} has {found_bytes:,} bytes, but {size_bytes:,} were expected; "
                "delete it and run again to download it"
            )
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise DataError(
                f"{path} has sha256 {found[:12]}…, but {sha256[:12]}… was expected; "
                "delete it and run again to download it"
            )


def _download_fashion_mnist(data_root: Path) -> None:
    """Download into a temporary sibling, check, then move: a download that fails leaves nothing half-done."""
    from torchvision.datasets import FashionMNIST

    raw = data_root / "FashionMNIST" / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_root, prefix=".download-") as folder:
            FashionMNIST(folder, download=True)
            downloaded = Path(folder) / "FashionMNIST" / "raw"
            _check_fashion_mnist(downloaded)
            for name in FASHION_MNIST_FILES:
                if not (raw / name).is_file():
                    (downloaded / name).replace(raw / name)
    except (OSError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise MissingDataError(
            f"Fashion-MNIST is not in {raw} and cannot be downloaded ({reason}); "
            f"put the four unpacked files of {FASHION_MNIST_HOME} there, or give --data-root where they are"
        ) from error
