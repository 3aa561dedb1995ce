"""Files in a bundle that nobody put there: what systems leave in folders, and what a kill left of writing one file."""

from pathlib import Path

from serve.bundle import CERTIFICATE
from serve.signing import SIGNATURE
from train.whole_file import leftover_prefix
from train.workplace import IGNORED

_PREFIXES = tuple(map(leftover_prefix, (CERTIFICATE, SIGNATURE)))


def leftovers(bundle: Path) -> list[Path]:
    """Return the files below a bundle's folder that nobody would miss."""
    files = (path for path in bundle.rglob("*") if path.is_file() and not path.is_symlink())
    return [
        path for path in files if path.name in IGNORED or (path.parent == bundle and path.name.startswith(_PREFIXES))
    ]


def clear_leftovers(bundle: Path) -> None:
    """Take those files away.

    Raises:
        OSError: one cannot be.
    """
    for path in leftovers(bundle):
        path.unlink(missing_ok=True)
