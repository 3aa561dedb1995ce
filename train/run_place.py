"""Where a run is written: the folder beside it in which it is made, the lock of its training, and what kills left."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from train.run import RECORD, RunError, read_run
from train.workplace import Kind, is_free, put_back


def _is_run(path: Path) -> bool:
    try:
        read_run(path)
    except RunError:
        return False
    return True


RUN = Kind(name="run", last=RECORD, is_whole=_is_run)


@contextmanager
def hold_run(path: Path) -> Iterator[None]:
    """Keep others from training into a run; a process that dies lets go of it.

    Folders above it that are not there are made, and those that stay empty go again.

    Raises:
        RunError: another training holds it, or nothing can be written beside it.
    """
    path = path.resolve()
    made = [folder for folder in path.parents if not folder.exists()]
    file = path.parent / f"{RUN.prefix(path)}lock"
    lock = None
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _lock_file(file)
        except BlockingIOError:
            raise RunError(
                f"{path} is being trained by another process; wait for it to end, or give another --out"
            ) from None
        except OSError as error:
            raise RunError(
                f"{path.parent} cannot be written to ({error.strerror or error}), but the run is to stand there; "
                "give another --out"
            ) from error
        yield
    finally:
        if lock is not None:
            file.unlink(missing_ok=True)
            os.close(lock)
        for folder in made:
            with suppress(OSError):  # it is not empty, or was never made
                folder.rmdir()


def rescue_run(path: Path) -> None:
    """Put the newest run back that a kill left aside while another was put in its place, and clear what kills left.

    Where something stands that is no run, nothing is touched.
    """
    path = path.resolve()
    if is_free(path) or _is_run(path):
        put_back(path, RUN)


def _lock_file(file: Path) -> int | None:
    """Make and lock a file; None where the system has no such locks.

    Raises:
        BlockingIOError: another process holds it.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        if sys.platform == "win32":
            os.close(descriptor)
            file.unlink(missing_ok=True)
            return None
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # the file system has no locks
            return descriptor
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == file.stat().st_ino:
                return descriptor
        os.close(descriptor)  # whoever held it before took it away while we waited
