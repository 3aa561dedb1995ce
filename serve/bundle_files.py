"""Reading the files of a bundle: regular files inside it, none larger than expected, and never over a link."""

import stat
from pathlib import Path

from serve.manifest import BundleError


def read_document(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a document of at most so many.

    Raises:
        BundleError: it is larger, no regular file, or cannot be read.
    """
    try:
        size_bytes = size_of(path)
        if size_bytes > max_bytes:
            raise BundleError(f"{path} has {size_bytes:,} bytes, but at most {max_bytes:,} are read; make it again")
        return read_file(path, size_bytes)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); make it again") from error


def check_folders(bundle: Path, file: str) -> None:
    """Check that the folders between a bundle and one of its files are none but its own."""
    folder = bundle
    for name in file.split("/")[:-1]:
        folder /= name
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise BundleError(f"{folder} is no folder, but one was expected; copy the bundle with its files, not links")


def size_of(path: Path) -> int:
    """Return the size of a file; what is none could keep a reader waiting, or lead it out of the bundle."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{path} is no regular file, but one was expected; copy the bundle with its files, not links")
    return found.st_size


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return at most so many of a file's first bytes."""
    with path.open("rb") as file:
        return file.read(max_bytes)
