"""The folder beside a target in which its new bundle is made, and what kills left of earlier ones."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.bundle import MANIFEST, BundleError, Manifest, decode_sealed
from train.lock import lock_folder

NEW, OLD = "new", "old"
_RANDOM_LETTERS = 8  # that `tempfile` appends to a prefix


@contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """Make a folder beside a target, which goes when the work is done, however it ends.

    Before that, what a killed export left is cleared away; where it left the target's place empty, the bundle that
    stood there is put back. Folders of exports that still run are left alone: each is locked by its own.

    Args:
        target: Where the new bundle is to stand.

    Yields:
        The folder: the new bundle is made in `NEW`, and the one before waits in `OLD`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _recover(target)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    lock = lock_folder(folder)
    try:
        (folder / NEW).mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _recover(target: Path) -> None:
    for folder in sorted(target.parent.glob(f"{glob.escape(_prefix(target))}{'?' * _RANDOM_LETTERS}")):
        if folder.is_symlink() or not folder.is_dir():
            continue
        lock = lock_folder(folder)
        if lock is None:
            continue
        try:
            for place in (folder / NEW, folder / OLD):
                if not target.exists() and _is_bundle(place):
                    place.rename(target)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _prefix(target: Path) -> str:
    return f".{target.name}.export-"


def _is_bundle(folder: Path) -> bool:
    """Return whether an export had finished there: the manifest is written last, and is whole."""
    path = folder / MANIFEST
    try:
        decode_sealed(path.read_bytes(), Manifest, path)
    except (OSError, BundleError):
        return False
    return True
