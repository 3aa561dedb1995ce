"""Ctrl-C and SIGTERM while a run trains: end after the batch, keep what there is."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Remembers the signal that asked for a stop. Call it to ask whether one did.

    Before it is first asked nobody would notice a request, and after a second signal somebody is in a hurry: both
    raise KeyboardInterrupt at once. While it is `shielded`, nothing does.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._watched = False
        self._shielded = False

    def __call__(self) -> bool:
        """Return whether a signal asked for a stop."""
        self._watched = True
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """What shells expect of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.signal_number or signal.SIGINT)

    def receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        """Handle a signal."""
        again = self.signal_number is not None
        self.signal_number = number
        if (again or not self._watched) and not self._shielded:
            raise KeyboardInterrupt

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Let no signal interrupt the block: the last state is being written, and nothing else would keep it."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Handle Ctrl-C and SIGTERM by a `StopRequest` within the block; the handlers before it come back after it."""
    request = StopRequest()
    before = {number: signal.signal(number, request.receive) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
