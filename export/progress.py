"""What people are told while a bundle is made: what goes on, and a line for each step that is done."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that is done.

    Attributes:
        name: The file that was written, or what was done.
        size_bytes: Of the file; None where none was written.
        duration_s: How long it took.
    """

    name: str
    size_bytes: int | None = None
    duration_s: float


def _ignore(_: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told.

    Attributes:
        on_start: Called with what is being done now, in words.
        on_step: Called with each step that is done.
        on_note: Called with each sentence about what was found and is no reason to refuse.
    """

    on_start: Callable[[str], None] = _ignore
    on_step: Callable[[Step], None] = _ignore
    on_note: Callable[[str], None] = _ignore

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[None]:
        """Tell of a step that writes no file, when it starts and when it is done."""
        self.on_start(doing)
        start = time.perf_counter()
        yield
        self.on_step(Step(name=name, duration_s=time.perf_counter() - start))


SILENT = Listener()


class ExportProgress:
    """Prints steps line by line, and shows in a terminal what goes on; use it in a ``with`` statement."""

    def __init__(self, console: "Console") -> None:
        from rich.status import Status

        self._console = console
        self._status = Status("starting", console=console) if console.is_terminal else None
        self.listener = Listener(on_start=self.start, on_step=self.done, on_note=self.note)

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def start(self, doing: str) -> None:
        """Tell what goes on now."""
        if self._status is not None:
            self._status.update(f"{doing} …")

    def done(self, step: Step) -> None:
        """Tell that a step is done."""
        size = "" if step.size_bytes is None else f"{step.size_bytes:,} bytes"
        self.say(f"  {step.name:<30} {size:>20} {step.duration_s:8.2f} s")

    def note(self, sentence: str) -> None:
        """Tell what was found."""
        self.say(f"note: {sentence}")

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
