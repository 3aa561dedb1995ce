"""The folder beside a target in which its next version is made, and what kills left of earlier ones.

Runs and bundles are written alike: into such a folder, locked while its process lives, and from there into place.
"""

import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from train.lock import lock_folder

NEW, OLD = "new", "old"
IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what systems leave in folders; nobody would miss it
_RANDOM_LETTERS = 8  # that `tempfile` appends to a prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is made there.

    Attributes:
        name: Stands in the names of the folders.
        last: The file of it that is written last.
        is_whole: Whether a directory holds one of which nothing is missing.
    """

    name: str
    last: str
    is_whole: Callable[[Path], bool]

    @property
    def marker(self) -> str:
        """Name of a file in every folder of ours: the folder's name alone does not say whose it is."""
        return f"facsimile-{self.name}"

    def prefix(self, target: Path) -> str:
        """Return what the names of the folders beside a target begin with."""
        return f".{target.name}.{self.name}-"


@contextmanager
def workplace(target: Path, kind: Kind) -> Iterator[Path]:
    """Make a folder beside a target, which goes when the work is done, however it ends; the only copy never does.

    Args:
        target: Where the new version is to stand.
        kind: What it is.

    Yields:
        The folder: the new version is made in `NEW`, and the one before may wait in `OLD`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder, lock = _make(target, kind)
    try:
        (folder / NEW).mkdir()
        yield folder
    finally:
        if not target.exists() and (folder / OLD).exists():
            (folder / OLD).rename(target)
        _clear(folder, kind)
        _let_go(lock)


def put_back(target: Path, kind: Kind) -> None:
    """Put the newest version back that a kill left aside while another was put in its place, and clear what kills left.

    Only what is ours is touched: folders with our marker, and empty ones, which were killed before they had it; and
    none that a living process works in.
    """
    found = _leftovers(target, kind)
    try:
        if is_free(target):
            sides = ([side for side in (folder / NEW, folder / OLD) if kind.is_whole(side)] for folder, _ in found)
            whole = [side[0] for side in sides if side]  # of one folder, the new version is the newer one
            if whole:
                if target.exists():
                    clear_ignored(target)
                    target.rmdir()
                max(whole, key=lambda side: (side / kind.last).stat().st_mtime_ns).rename(target)
        for folder, _ in found:
            _clear(folder, kind)
    finally:
        for _, lock in found:
            os.close(lock)


def is_free(path: Path) -> bool:
    """Return whether nothing stands at a path, or an empty directory."""
    if path.is_symlink():
        return False
    return not path.exists() or (path.is_dir() and not names_in(path))


def names_in(path: Path) -> set[str]:
    """Return the names in a directory, but not those that systems leave there."""
    return {entry.name for entry in path.iterdir()} - IGNORED


def clear_ignored(path: Path) -> None:
    """Take away what systems left in a directory."""
    for name in IGNORED:
        (path / name).unlink(missing_ok=True)


def _make(target: Path, kind: Kind) -> tuple[Path, int | None]:
    """Make a folder, lock it, and only then mark it: what has a marker and no lock, nobody works in any more."""
    while True:
        folder, lock = Path(tempfile.mkdtemp(prefix=kind.prefix(target), dir=target.parent)), None
        try:
            lock = lock_folder(folder, wait=True)
            (folder / kind.marker).write_text("Something is being written here; this folder goes when that is done.\n")
        except FileNotFoundError:  # another process took it for what a kill left, as it was still empty
            _let_go(lock)
        except BaseException:
            _clear(folder, kind)
            _let_go(lock)
            raise
        else:
            return folder, lock


def _leftovers(target: Path, kind: Kind) -> list[tuple[Path, int]]:
    """Return the marked folders beside a target that nobody works in any more, each with its lock."""
    found = []
    for folder in sorted(target.parent.glob(f"{glob.escape(kind.prefix(target))}{'?' * _RANDOM_LETTERS}")):
        try:
            lock = lock_folder(folder)
        except OSError:  # no folder, not ours to open, or gone by now
            continue
        if lock is None:
            continue
        if (folder / kind.marker).is_file():
            found.append((folder, lock))
            continue
        with suppress(OSError):  # it is not empty, so it is somebody else's
            folder.rmdir()
        os.close(lock)
    return found


def _clear(folder: Path, kind: Kind) -> None:
    """Take a folder of ours away, its marker last: without it, nobody could tell whose the rest is."""
    for name in (NEW, OLD):
        shutil.rmtree(folder / name, ignore_errors=True)
    with suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == [kind.marker]:
            (folder / kind.marker).unlink()
        folder.rmdir()


def _let_go(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
