"""What a module's forward takes from elsewhere than its inputs and weights: no graph holds a clock or a file."""

import datetime
import io
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

_CLOCKS = {
    *(time.time, time.time_ns, time.monotonic, time.monotonic_ns, time.perf_counter, time.perf_counter_ns),
    *(time.localtime, time.gmtime),
}
_NOW = frozenset({"now", "utcnow", "today"})
_ENVIRONMENT = type(os.environ).__getitem__.__code__
_IMPORTS = "<frozen importlib"
_STANDARD = str(Path(os.__file__).resolve().parent)
_PACKAGES = os.sep + "site-packages" + os.sep
_TORCH = str(Path(torch.__file__).resolve().parent)
_OWN = str(Path(__file__).resolve().parent)


class OutsideReads:
    """Notes which parts of a network read the clock, the environment or a file, while they run.

    Python reports each call to it, so that it sees ``from time import time`` as well; what the functions give is left
    as it is. torch's own reads do not count. Calls of compiled code by compiled code stay unseen.
    """

    def __init__(self, stack: list[str]) -> None:
        self.stack = stack
        self.found: dict[str, str] = {}

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:  # noqa: ANN401 - as sys.setprofile gives it
        """Take one event of `sys.setprofile`."""
        what = None
        if event == "c_call":
            what = _named(called)
        elif event == "call" and frame.f_code is _ENVIRONMENT:
            what = f"the environment variable {frame.f_locals.get('key')}"
        if what is not None and _is_users(frame):
            self.found.setdefault(self.stack[-1] if self.stack else "", what)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread, unless a profiler does already."""
        before = sys.getprofile()
        if before is not None:
            yield
            return
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)


@contextmanager
def global_draws() -> Iterator[list[str]]:
    """Note which generators of Python and NumPy are drawn from, or seeded; they stand afterwards as they did before.

    Yields:
        Their names; complete when the block has ended.
    """
    found: list[str] = []
    own, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the one that all programs share
    try:
        yield found
    finally:
        if random.getstate() != own:
            found.append("random")
            random.setstate(own)
        if _place(np.random.get_state()) != _place(numpy):  # noqa: NPY002
            found.append("numpy.random")
            np.random.set_state(numpy)  # noqa: NPY002


def _place(state: Any) -> tuple[bytes, object]:  # noqa: ANN401 - NumPy's own
    _, keys, position, *_ = state
    return keys.tobytes(), position


def _named(called: Any) -> str | None:  # noqa: ANN401 - any function of C
    try:
        if called in _CLOCKS:
            return f"the clock (time.{called.__name__})"
    except TypeError:  # one that has no hash
        return None
    owner = getattr(called, "__self__", None)
    if isinstance(owner, type) and issubclass(owner, datetime.date) and called.__name__ in _NOW:
        return f"the clock (datetime.{called.__name__})"
    return "a file" if called is io.open else None


def _is_users(frame: FrameType | None) -> bool:
    """Return whether code that is neither Python's, torch's nor this project's own asked for it, and by no import."""
    asked = False
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_IMPORTS):
            return False
        if file.startswith((_TORCH, _OWN)):
            break
        asked |= not file.startswith("<frozen") and (not file.startswith(_STANDARD) or _PACKAGES in file)
        frame = frame.f_back
    return asked
