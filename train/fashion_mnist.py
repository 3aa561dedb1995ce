"""Fashion-MNIST: four files of images and labels, downloaded where missing, checked against their digests."""

import gzip
import hashlib
import os
import shutil
import zlib
from pathlib import Path

import numpy as np

from train.dataset import DataError, Dataset, MissingDataError, Split, make_dataset
from train.download import DownloadError, Source, download
from train.one_at_a_time import one_at_a_time

# Size in bytes and sha256 of the unpacked files. Source: zalandoresearch/fashion-mnist, whose .gz files have the md5
# sums that torchvision.datasets.FashionMNIST checks.
FILES = {
    "train-images-idx3-ubyte": (47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": (60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": (7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": (10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
ARCHIVE_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
HOME = "github.com/zalandoresearch/fashion-mnist"
# The authors' repository, and over HTTPS the store that torchvision reads over HTTP.
MIRRORS = (
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
)
ARCHIVE_OVERHEAD_BYTES = 1 << 10  # what an archive of incompressible bytes has more than they are
IMAGES_HEADER_BYTES, LABELS_HEADER_BYTES = 16, 8


def read_fashion_mnist(data_root: Path, download: bool = True) -> Dataset:
    """Read Fashion-MNIST, 60,000 + 10,000 images of 28x28; it is downloaded when it is not there.

    Raises:
        MissingDataError: a file is missing, and was not to be downloaded or could not be.
        DataError: a file is damaged.
    """
    raw = data_root / "FashionMNIST" / "raw"
    missing = [name for name in FILES if not (raw / name).is_file()]
    if missing:
        if not download:
            raise MissingDataError(
                f"Fashion-MNIST is not in {raw}; give --data-root where it is, or train once to download it"
            )
        _download(raw)
    for name in FILES:
        _check(raw / name)

    def split(name: str) -> Split:
        # their sizes and digests are checked, so that what the headers say is known
        images = np.fromfile(raw / f"{name}-images-idx3-ubyte", dtype=np.uint8, offset=IMAGES_HEADER_BYTES)
        labels = np.fromfile(raw / f"{name}-labels-idx1-ubyte", dtype=np.uint8, offset=LABELS_HEADER_BYTES)
        return Split(inputs=images.reshape(-1, 28, 28, 1), targets=labels.astype(np.int64))

    return make_dataset("fashion-mnist", split("train"), split("t10k"))


def _check(path: Path) -> None:
    size_bytes, sha256 = FILES[path.name]
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
            f"{path} has sha256 {found[:12]}…, but {sha256[:12]}… was expected; delete it and run again to download it"
        )


def _download(raw: Path) -> None:
    """Download and unpack beside the folder, check, then move: what is in it is whole. A broken download is kept."""
    staging = raw.parent / ".download"
    try:
        with one_at_a_time(raw.parents[1]):
            # another process may have brought them meanwhile
            _download_missing(raw, [name for name in FILES if not (raw / name).is_file()], staging)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        _remove_empty(staging)
        reason = " ".join(str(error).split())
        raise MissingDataError(
            f"Fashion-MNIST is not in {raw} and cannot be downloaded ({reason}); "
            f"put the four unpacked files of {HOME} there, or give --data-root where they are"
        ) from error


def _download_missing(raw: Path, missing: list[str], staging: Path) -> None:
    staging.mkdir(parents=True, exist_ok=True)
    for name in missing:
        _download_archive(name, staging / f"{name}.gz")
    for name in missing:
        _unpack(staging / f"{name}.gz", staging / name)
        _check(staging / name)
    raw.mkdir(exist_ok=True)
    for name in missing:
        (staging / name).replace(raw / name)
    shutil.rmtree(staging)


def _download_archive(name: str, archive: Path) -> None:
    if archive.is_file():
        return  # from an earlier call, and checked then
    reasons = []
    for mirror in MIRRORS:
        most_bytes = FILES[name][0] + ARCHIVE_OVERHEAD_BYTES
        source = Source(url=f"{mirror}{name}.gz", most_bytes=most_bytes, md5=ARCHIVE_MD5[name])
        try:
            download(source, archive)
        except DownloadError as error:
            reasons.append(str(error))
        else:
            return
    raise DownloadError("; ".join(reasons))


def _unpack(archive: Path, target: Path) -> None:
    """Unpack as many bytes as are expected and one more, so that an archive of something else cannot fill the disk."""
    with gzip.open(archive) as packed, target.open("wb") as file:
        left = FILES[target.name][0] + 1
        while left and (block := packed.read(min(left, 1 << 20))):
            left -= file.write(block)


def _remove_empty(staging: Path) -> None:
    """Remove the folders that were made for a download of which not a byte came."""
    for folder in (staging, staging.parent):
        if folder.is_dir() and not os.listdir(folder):  # noqa: PTH208 - only whether there is anything
            folder.rmdir()
