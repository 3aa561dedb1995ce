"""One process at a time in a folder: two that download the same would write and delete each other's files."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

# what a file system says that locks no directory, such as NFS: there it is as if nobody else were there
_UNSUPPORTED = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is missing; wait while another process does, and say so.

    The lock is the system's own, on the folder itself: nothing is left behind, however the process ends. Windows has
    none of the kind.

    Raises:
        OSError: the folder cannot be made or read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl  # not there on Windows

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sentence = f"another process downloads into {folder}; waiting for it"
                Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        yield
    finally:
        os.close(descriptor)
