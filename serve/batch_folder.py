"""The folder in which one batch job works, and no other meanwhile."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from serve.batch_output import OutputError
from serve.lock import lock_folder


def take_folder(folder: Path, out: Path) -> int | None:
    """Make a folder where it is not there, and lock it for this process.

    Args:
        folder: Where the job works.
        out: What it writes in the end.

    Returns:
        What holds the lock until it is closed, or None where the file system has no locks.

    Raises:
        OutputError: another job works there, or it is no folder.
    """
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
        try:
            mode = folder.lstat().st_mode
        except FileNotFoundError:  # another job has just ended there
            continue
        if not stat.S_ISDIR(mode):
            raise OutputError(f"{folder} is in the way: it is no folder; move it, or choose another --out")
        try:
            lock = lock_folder(folder)
        except FileNotFoundError:  # another job has just ended there
            continue
        except BlockingIOError as error:
            raise OutputError(
                f"--out is {out}, but another job is writing it and works in {folder}; wait until that has ended, "
                "or choose another --out"
            ) from error
        if lock is None or _is_still(folder, lock):
            return lock
        os.close(lock)


def _is_still(folder: Path, descriptor: int) -> bool:
    """Return whether a folder is the one that was opened, and not another that was made after that one went."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
