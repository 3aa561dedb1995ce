"""The lock on a folder in which a process works, by which others know that it still lives."""

import os
import sys
from pathlib import Path


def lock_folder(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or its process ends; None where another has it, or nobody can."""
    if sys.platform == "win32":  # has other locks; there leftovers stay
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another holds it, or the file system has no locks
        os.close(descriptor)
        return None
    return descriptor
