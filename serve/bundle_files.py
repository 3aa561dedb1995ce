"""Reading the files of a bundle: regular files inside it, none larger than expected, and never over a link."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from serve.manifest import BundleError

_FLAGS = ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK")  # those that a system has: of Windows the first alone


def read_document(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a document of at most so many.

    Raises:
        BundleError: it is larger, no regular file, or cannot be read.
    """
    try:
        with open_file(path) as file:
            size_bytes = size_of(file)
            if size_bytes > max_bytes:
                raise BundleError(f"{path} has {size_bytes:,} bytes, but at most {max_bytes:,} are read; make it again")
            return file.read(size_bytes)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); make it again") from error


def check_folders(bundle: Path, file: str) -> None:
    """Check that the folders between a bundle and one of its files are none but its own."""
    folder = bundle
    for name in file.split("/")[:-1]:
        folder /= name
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise BundleError(f"{folder} is no folder, but one was expected; copy the bundle with its files, not links")


def open_file(path: Path) -> BinaryIO:
    """Open a regular file; what is none could keep a reader waiting, or lead it out of the bundle.

    Raises:
        BundleError: it is a link, a pipe, a folder, or the like.
        OSError: it cannot be opened, as a link cannot that was put there after the look.
    """
    _check_regular(path, path.lstat())  # a device may start to move when it is opened
    file = os.fdopen(os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in _FLAGS)), "rb")
    try:
        _check_regular(path, os.fstat(file.fileno()))  # another may stand there by now
    except BaseException:
        file.close()
        raise
    return file


def size_of(file: BinaryIO) -> int:
    """Return the size of an open file."""
    return os.fstat(file.fileno()).st_size


def _check_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{path} is no regular file, but one was expected; copy the bundle with its files, not links")
