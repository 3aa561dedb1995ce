"""Where a run is written: the folder beside it in which it is made, the lock of its training, and what kills left."""

import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from train.lock import lock_folder
from train.run import RECORD, RunError, read_run

NEW, OLD = "new", "old"
MARKER = "facsimile-run"  # in every folder of ours: a name alone does not say whose a folder is
IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what systems leave in folders; nobody would miss it
_RANDOM_LETTERS = 8  # that `tempfile` appends to a prefix


@contextmanager
def run_workplace(path: Path) -> Iterator[Path]:
    """Make a folder beside a run, which goes when the work is done, however it ends; the run's only copy never does.

    Args:
        path: Where the run is to stand.

    Yields:
        The folder: the new run is made in `NEW`, and the one before may wait in `OLD`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
    lock = lock_folder(folder)
    try:
        (folder / MARKER).write_text("A run is being written here; this folder goes when that is done.\n")
        (folder / NEW).mkdir()
        yield folder
    finally:
        if not path.exists() and (folder / OLD).exists():
            (folder / OLD).rename(path)
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def hold_run(path: Path) -> Iterator[None]:
    """Keep others from training into a run; a process that dies lets go of it.

    Folders above it that are not there are made, and those that stay empty go again.

    Raises:
        RunError: another training holds it, or nothing can be written beside it.
    """
    path = path.resolve()
    made = [folder for folder in path.parents if not folder.exists()]
    file = path.parent / f"{_prefix(path)}lock"
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

    Only folders with our marker are touched, and none that a living process writes in.
    """
    path = path.resolve()
    if not is_free(path) and not _is_run(path):
        return
    found = _leftovers(path)
    try:
        if is_free(path):
            runs = [place / name for place, _ in found for name in (NEW, OLD) if _is_run(place / name)]
            if runs:
                if path.exists():
                    clear_ignored(path)
                    path.rmdir()
                max(runs, key=lambda run: (run / RECORD).stat().st_mtime_ns).rename(path)
        for place, _ in found:
            shutil.rmtree(place, ignore_errors=True)
    finally:
        for _, lock in found:
            os.close(lock)


def is_free(path: Path) -> bool:
    """Return whether nothing stands at a path, or an empty directory."""
    if path.is_symlink():
        return False
    return not path.exists() or (path.is_dir() and not (names_in(path)))


def names_in(path: Path) -> set[str]:
    """Return the names in a directory, but not those that systems leave there."""
    return {entry.name for entry in path.iterdir()} - IGNORED


def clear_ignored(path: Path) -> None:
    """Take away what systems left in a directory."""
    for name in IGNORED:
        (path / name).unlink(missing_ok=True)


def _leftovers(path: Path) -> list[tuple[Path, int]]:
    """Return the marked folders beside a path that nobody writes in any more, each with its lock."""
    found = []
    for place in sorted(path.parent.glob(f"{glob.escape(_prefix(path))}{'?' * _RANDOM_LETTERS}")):
        if place.is_symlink() or not (place / MARKER).is_file():
            continue
        lock = lock_folder(place)
        if lock is not None:
            found.append((place, lock))
    return found


def _prefix(path: Path) -> str:
    return f".{path.name}.run-"


def _is_run(path: Path) -> bool:
    try:
        read_run(path)
    except RunError:
        return False
    return True


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
