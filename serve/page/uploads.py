"""The folder that holds what visitors upload: this server's own, bounded, and gone when the server stops."""

import os
import tempfile
import time
from pathlib import Path

MAX_TOTAL_BYTES = 512 << 20
LEAST_BYTES = 64 << 10  # a file counts as no fewer, so that the number of files is bounded too
DELETE_AFTER_S = 900
_VARIABLE = "GRADIO_TEMP_DIR"  # where Gradio (6.31) looks up the folder, anew for each file


class Uploads:
    """A new folder that only this user may enter; Gradio keeps uploads there until `close`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="facsimile-uploads-", ignore_cleanup_errors=True)
        self._before = os.environ.get(_VARIABLE)
        self.path = Path(self._folder.name).resolve()
        os.environ[_VARIABLE] = str(self.path)

    def close(self) -> None:
        """Delete the folder with everything in it."""
        if os.environ.get(_VARIABLE) == str(self.path):
            del os.environ[_VARIABLE]
            if self._before is not None:
                os.environ[_VARIABLE] = self._before
        self._folder.cleanup()


def measure(folder: Path) -> int:
    """Return what a folder of uploads holds, in bytes, a file counting as at least `LEAST_BYTES`.

    Files older than twice `DELETE_AFTER_S` are deleted: what is left of uploads that broke off, of which Gradio does
    not know.
    """
    oldest = time.time() - 2 * DELETE_AFTER_S
    total = 0
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            try:
                status = path.lstat()
                if status.st_mtime < oldest:
                    path.unlink()
                else:
                    total += max(LEAST_BYTES, status.st_size)
            except FileNotFoundError:  # deleted or renamed meanwhile
                continue
    return total
