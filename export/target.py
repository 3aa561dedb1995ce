"""Where a bundle goes: into no place that holds anything else."""

from pathlib import Path

from export.errors import ExportError
from export.leftovers import leftovers
from serve.bundle import CERTIFICATE, MANIFEST, BundleError, Manifest, decode_sealed
from serve.signing import SIGNATURE


def check_target(target: Path) -> None:
    """Check that nothing stands where a bundle goes, or a bundle that may be replaced.

    Raises:
        ExportError: something else stands there.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ExportError(f"{target} is a file or a link, but a bundle is a directory; give another --out")
    if not target.is_dir():
        return
    nobodys = set(leftovers(target))
    if set(target.iterdir()) <= nobodys:
        return
    path = target / MANIFEST
    try:
        manifest = decode_sealed(path.read_bytes(), Manifest, path)
    except (OSError, BundleError):
        raise ExportError(
            f"{target} holds files but no valid {MANIFEST}, so it is no bundle and is left alone; give another --out"
        ) from None
    known = {MANIFEST, CERTIFICATE, SIGNATURE, *(entry.path for entry in manifest.files)}
    files = (path for path in target.rglob("*") if path.is_symlink() or not path.is_dir())
    files = (path for path in files if path not in nobodys)
    stray = sorted({path.relative_to(target).as_posix() for path in files} - known)
    if stray:
        raise ExportError(
            f"{target} holds {stray[0]}, which is no part of the bundle and would be lost; "
            "move it or give another --out"
        )
