"""Images of one's own: found, split in two, and read as serving reads an image."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve.bundle import ImagePreprocessing
from serve.preprocess import ImageError, prepare_bytes
from train.dataset import DataError, Dataset, MissingDataError, Split
from train.folder_listing import SPLITS, Listing, list_image_folder
from train.recipes.recipe import ImageFolder
from train.wording import some_names

MOST_IMAGE_BYTES = 64 << 20
_AT_ONCE = 64  # images that are read before the next are asked for, so that Ctrl-C does not wait for all


def find_folder(name: str, data_root: Path) -> Path:
    """Return the folder of that name below a data root, or the data root that is that folder.

    Raises:
        MissingDataError: it is neither.
    """
    if (data_root / name).is_dir():
        return data_root / name
    if data_root.is_dir() and data_root.resolve().name == name:
        return data_root
    raise MissingDataError(
        f"{data_root / name} does not exist, but the folder of images was expected there; give the --data-root that "
        f"{name} is in"
    )


def split_files(listing: Listing, folder: ImageFolder) -> dict[str, list[tuple[Path, int]]]:
    """Say which images are trained on and which are held out.

    Args:
        listing: The folder.
        folder: The share and the seed: of each class the same share, at least one image and never all.

    Returns:
        By split, each image with its class index, sorted by class and name.

    Raises:
        DataError: the folder is split where a share is asked for, or not where none is; or a class has one image.
    """
    if listing.is_split != (folder.test_share is None):
        has, was = ("has", "none") if listing.is_split else ("has no", "both")
        raise DataError(
            f"{listing.path} {has} folders train and test, but {was} was expected; give the folder as it was"
        )
    if folder.test_share is None or folder.split_seed is None:
        return {
            name: [(file, index) for index, files in enumerate(classes) for file in files]
            for name, classes in listing.files.items()
        }
    rows: dict[str, list[tuple[Path, int]]] = {name: [] for name in SPLITS}
    for index, (label, files) in enumerate(zip(listing.labels, listing.files[""], strict=True)):
        if len(files) < 2:
            raise DataError(
                f"class {label} of {listing.path} has 1 image, but at least 2 were expected, one to train on and one "
                "to hold out; add images"
            )
        wanted = min(max(1, round(folder.test_share * len(files))), len(files) - 1)
        chosen = set(np.random.default_rng((folder.split_seed, index)).permutation(len(files))[:wanted].tolist())
        for place, file in enumerate(files):
            rows["test" if place in chosen else "train"].append((file, index))
    return rows


def read_image_folder(
    path: Path, *, folder: ImageFolder, labels: tuple[str, ...], preprocessing: ImagePreprocessing
) -> Dataset:
    """Read a folder, prepared as serving prepares an image.

    Args:
        path: Where it lies.
        folder: What it is called, and which images are held out.
        labels: The classes it must have, in their order.
        preprocessing: What an image becomes.

    Returns:
        Its digest is over which image is in which split and class under which name, and over every byte.

    Raises:
        DataError: it holds other classes, an image that cannot be read, or one in both splits.
    """
    listing = list_image_folder(path)
    if listing.labels != labels:
        raise DataError(
            f"{path} has the classes {some_names(listing.labels)}, but {some_names(labels)} were expected; give the "
            "folder as it was, or train again"
        )
    digest = hashlib.sha256()
    seen: dict[bytes, tuple[str, Path]] = {}
    splits = {}
    for name, rows in split_files(listing, folder).items():
        images = []
        for (file, index), (image, sha256) in zip(rows, _read_all(rows, preprocessing), strict=True):
            split, twin = seen.setdefault(sha256, (name, file))
            if split != name:
                raise DataError(
                    f"{file} is held out, but {twin}, which is trained on, has the same bytes, so that it would test "
                    "nothing; take one of them away"
                )
            digest.update(f"{name}/{labels[index]}/{file.name}\0".encode() + sha256)
            images.append(image)
        splits[name] = Split(inputs=np.stack(images), targets=np.array([index for _, index in rows], dtype=np.int64))
    return Dataset(name=folder.name, train=splits["train"], test=splits["test"], sha256=digest.hexdigest())


def _read_all(
    rows: Sequence[tuple[Path, int]], preprocessing: ImagePreprocessing
) -> Iterator[tuple[NDArray[np.uint8], bytes]]:
    """Read images on all cores, in order; of each the array and the digest of its bytes."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(rows), _AT_ONCE):
            yield from pool.map(lambda row: read_image(row[0], preprocessing), rows[start : start + _AT_ONCE])


def read_image(file: Path, preprocessing: ImagePreprocessing) -> tuple[NDArray[np.uint8], bytes]:
    """Read one image; return the array and the digest of the file's bytes.

    Raises:
        DataError: it cannot be read, is none, or is too large.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_IMAGE_BYTES + 1)
        if len(content) > MOST_IMAGE_BYTES:
            raise ImageError(f"it has more than {MOST_IMAGE_BYTES:,} bytes, which is the most of an image")
        return prepare_bytes(content, preprocessing), hashlib.sha256(content).digest()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}); mend that or take it away") from error
    except ImageError as error:
        found = str(error).rpartition("; ")[0] or error  # what stands last is for who sends an image
        raise DataError(f"{file} cannot be read: {found}; replace it or take it away") from error
