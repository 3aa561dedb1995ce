"""Files that torch writes itself: of a full disk its writers say nothing that helps, or they end the process."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

_MARGIN_BYTES = 1 << 20


class _Sink(io.RawIOBase):
    """Takes what a writer of torch writes, and keeps the first error: raised in there, it would end the process.

    Source: torch 2.15, caffe2/serialize/inline_container.cc: the writer's destructor writes once more, and throws.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.error: OSError | None = None

    def write(self, content: memoryview) -> int:  # type: ignore[override]
        if self.error is None:
            try:
                self._file.write(content)
            except OSError as error:
                self.error = error
        return len(content)

    def writable(self) -> bool:
        """Say so: torch.export warns of anything else."""
        return True

    def seekable(self) -> bool:
        """Say so, too, for the same reason."""
        return True

    def seek(self, position: int, _: int = 0) -> int:
        """Do nothing: torch.export rewinds what it has written."""
        return position


@contextmanager
def torch_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for ``torch.save`` and its like.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
        sink = _Sink(file)
        yield cast("IO[bytes]", sink)
        if sink.error is not None:
            raise sink.error


def check_disk(folder: Path, size_bytes: int = 0) -> None:
    """Check that a folder takes so many bytes and a few more: to tell a full disk from another reason to fail.

    Raises:
        OSError: it does not.
    """
    with tempfile.TemporaryFile(dir=folder) as trial:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(trial.fileno(), 0, size_bytes + _MARGIN_BYTES)
        else:
            trial.write(bytes(_MARGIN_BYTES))
