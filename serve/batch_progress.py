"""Progress on stderr: a bar in a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_EVERY_S = 10.0
_DRAW_EVERY_S = 0.1


class Progress:
    """Counts what is done; use it as a context, and call `start` when the total is known.

    Args:
        verb: What is being done.
        unit: Of what.
    """

    def __init__(self, verb: str, *, unit: str) -> None:
        self._verb, self._unit = verb, unit
        self._console = Console(file=sys.stderr)
        self._bar: RichProgress | None = None
        self._total = self._done = self._first = self._failed = 0
        self._started = self._drawn = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._draw()
            self._bar.stop()

    def say(self, text: str) -> None:
        """Write one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, total: int, *, done: int = 0) -> None:
        """Begin counting at `done` of `total`."""
        self._total, self._done, self._first = total, done, done
        self._started = self._drawn = time.perf_counter()
        if not self._console.is_terminal:
            return
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._bar.add_task(self._verb, total=total, completed=done, speed="")
        self._bar.start()

    def advance(self, *, failed: bool = False) -> None:
        """Count one more."""
        self._done += 1
        self._failed += failed
        now = time.perf_counter()
        if now - self._drawn < (LINE_EVERY_S if self._bar is None else _DRAW_EVERY_S):
            return
        self._drawn = now
        self._draw()

    def _draw(self) -> None:
        rate = (self._done - self._first) / max(time.perf_counter() - self._started, 1e-9)
        speed = f"{rate:,.0f} {self._unit}/s, {self._failed:,} errors"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, speed=speed)
            return
        left_s = (self._total - self._done) / max(rate, 1e-9)
        self.say(f"{self._verb}: {self._done:,} of {self._total:,} {self._unit}, {speed}, {left_s:,.0f} s left")
