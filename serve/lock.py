"""The lock on a folder in which a process works: it ends with the process, however that ends."""

import os
import sys
from pathlib import Path


def lock_folder(folder: Path, *, wait: bool = False) -> int | None:
    """Lock a folder until the descriptor is closed or its process ends; None where nobody can.

    Args:
        folder: A folder, and no link to one.
        wait: Whether to wait for who has it.

    Raises:
        BlockingIOError: another has it.
        OSError: it is no folder, or may not be opened.
    """
    if sys.platform == "win32":  # has other locks
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # the file system has no locks
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
