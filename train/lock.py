"""The lock on a folder in which a process works, by which others know that it still lives."""

from pathlib import Path

import serve.lock


def lock_folder(folder: Path, *, wait: bool = False) -> int | None:
    """Lock a folder until the descriptor is closed or its process ends; None where another has it, or nobody can.

    Where nobody can, leftovers stay.

    Args:
        folder: A folder, and no link to one.
        wait: Whether to wait for who has it.

    Raises:
        OSError: it is no folder, or may not be opened.
    """
    try:
        return serve.lock.lock_folder(folder, wait=wait)
    except BlockingIOError:
        return None
