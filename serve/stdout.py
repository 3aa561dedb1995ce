"""Whether what a command found could be written to stdout, which may be a full disk."""

import os
import sys
from collections.abc import Callable
from typing import IO

READER_LEFT = 141
"""What shells give for a command that was stopped because nobody reads on."""


def stdout_trouble(failed: OSError | None = None) -> str | None:
    """Return what keeps stdout from being written, as a sentence, and let it rest then; None where nothing does.

    Args:
        failed: What stdout may have failed with.
    """
    if sys.stdout is None:
        return None
    try:
        sys.stdout.flush()
        if failed is not None and failed.filename is None and getattr(sys.stdout, "write_through", False):
            sys.stdout.write("\n")  # unbuffered, it keeps nothing to try again, so that only more of it can tell
    except OSError as error:
        # what is left would be tried again when Python ends, and fail in Python's words, with exit code 120
        let_rest(sys.stdout)
        if failed is None and isinstance(error, BrokenPipeError):
            return None  # whoever reads has had enough, as `head` has, and all was done
        reason = error.strerror or error
        return f"stdout cannot be written ({reason}), but results go there; free the place, or send it elsewhere"
    return None


def let_rest(stream: IO[str]) -> None:
    """Send what is still written to a stream nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def reader_left(failed: BaseException) -> bool:
    """Say whether a command failed because whoever reads its stdout has had enough, as `head` has."""
    return isinstance(failed, BrokenPipeError) and stdout_trouble(failed) is not None


def run_main(main: Callable[[], int]) -> int:
    """Run a command line; exit code 2, and one sentence, where stdout cannot be written; 141 where nobody reads it."""
    try:
        code = main()
    except OSError as error:
        if reader_left(error):
            return READER_LEFT
        trouble = stdout_trouble(error)
        if trouble is None:
            raise
    else:
        trouble = stdout_trouble()
    if trouble is None:
        return code
    print(f"error: {trouble}", file=sys.stderr)  # noqa: T201 - as every `__main__` does
    return 2
