"""The photos of pizza, steak and sushi: one folder per split and class, decoded and resized as serving does it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve.preprocess import ImageError, prepare_bytes
from train.dataset import DataError, Dataset, MissingDataError, Split
from train.food_download import SOURCE, SPLITS, digest_photos, download_food
from train.recipes.food import FOOD_LABELS, FOOD_PREPROCESSING

NAME = "pizza-steak-sushi"
FOLDER = "pizza_steak_sushi"
SUFFIXES = (".jpg", ".jpeg", ".png")


def read_food(data_root: Path, download: bool = True) -> Dataset:
    """Read the photos below ``pizza_steak_sushi/{train,test}/{pizza,steak,sushi}``, sorted by class and name.

    Args:
        data_root: The folder that holds ``pizza_steak_sushi``.
        download: Whether they may be downloaded where that folder does not exist. One that exists is the user's own:
            it may hold other photos, and nothing is added to it.

    Returns:
        Images ``(rows, 64, 64, 3)``; the digest is over the names and bytes of the files.

    Raises:
        MissingDataError: a folder is missing or empty; says how to get it.
        DataError: a file that does not belong there, or that is no image.
    """
    folder = data_root / FOLDER
    if download and not folder.exists():
        download_food(folder)
    contents: list[tuple[str, bytes]] = []
    train, test = (_read_split(folder, name, contents) for name in SPLITS)
    return Dataset(name=NAME, train=train, test=test, sha256=digest_photos(contents))


def _read_split(folder: Path, name: str, contents: list[tuple[str, bytes]]) -> Split:
    files = [(file, index) for index, label in enumerate(FOOD_LABELS) for file in _list_images(folder / name / label)]
    _refuse_strays(folder / name)
    images: list[NDArray[np.uint8]] = []
    for file, _ in files:
        content = file.read_bytes()
        contents.append((file.relative_to(folder).as_posix(), content))
        try:
            images.append(prepare_bytes(content, FOOD_PREPROCESSING))
        except ImageError as error:
            raise DataError(f"{file} cannot be read: {error}; replace it or take it away") from error
    return Split(inputs=np.stack(images), targets=np.array([index for _, index in files], dtype=np.int64))


def _list_images(folder: Path) -> list[Path]:
    """Return the images of a class folder by name; hidden files are passed over."""
    if not folder.is_dir():
        raise MissingDataError(
            f"{folder} does not exist, but the photos of one class were expected there; unpack {SOURCE} into "
            f"{folder.parents[1]}, or give --data-root where {FOLDER} is"
        )
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    stray = next((path for path in files if path.suffix.lower() not in SUFFIXES or not path.is_file()), None)
    if stray is not None:
        raise DataError(f"{stray} is no photo, but only {', '.join(SUFFIXES)} were expected there; take it away")
    if not files:
        raise MissingDataError(f"{folder} is empty, but the photos of one class were expected; unpack {SOURCE} again")
    return files


def _refuse_strays(split: Path) -> None:
    stray = next(
        (path for path in sorted(split.iterdir()) if path.name not in FOOD_LABELS and not path.name.startswith(".")),
        None,
    )
    if stray is not None:
        raise DataError(f"{stray} is none of the folders {', '.join(FOOD_LABELS)}; take it away")
