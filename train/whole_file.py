"""Writing one file: whole or not at all, so that a crash leaves the old one or none."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name beside its own, force it to disk, then rename it.

    Args:
        path: The file; what stands there is replaced, and folders above it are made where they are missing.
        content: All of it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=leftover_prefix(path.name))
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp lets nobody else read it
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def leftover_prefix(name: str) -> str:
    """Return what the name of a file begins with that a kill left of writing another."""
    return f".{name}-"
