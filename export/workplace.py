"""Where a bundle is made: in a folder beside its target, after what kills left of earlier ones is put right."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import train.workplace
from serve.bundle import MANIFEST, BundleError, Manifest, decode_sealed
from train.workplace import NEW as NEW
from train.workplace import OLD as OLD
from train.workplace import Kind, put_back


def _is_bundle(folder: Path) -> bool:
    """Return whether an export had finished there: the manifest is written last, and is whole."""
    path = folder / MANIFEST
    try:
        decode_sealed(path.read_bytes(), Manifest, path)
    except (OSError, BundleError):
        return False
    return True


EXPORT = Kind(name="export", last=MANIFEST, is_whole=_is_bundle)


@contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """Make a folder beside a target, which goes when the work is done, however it ends.

    Before that, what a killed export left is cleared away; where it left the target's place empty, the bundle that
    stood there is put back. Folders of exports that still run are left alone.

    Args:
        target: Where the new bundle is to stand.

    Yields:
        The folder: the new bundle is made in `NEW`, and the one before waits in `OLD`.
    """
    put_back(target, EXPORT)
    with train.workplace.workplace(target, EXPORT) as folder:
        yield folder
