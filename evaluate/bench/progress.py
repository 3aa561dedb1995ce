"""How far a measurement is."""

from collections.abc import Callable

OnStep = Callable[[str, float], None]


class Progress:
    """Tells what goes on, and the share of all steps that is done.

    Args:
        on_step: Told both.
    """

    def __init__(self, on_step: OnStep) -> None:
        self.steps = 1.0
        self._done = 0.0
        self._on_step = on_step

    def say(self, doing: str, part: float = 0.0) -> None:
        """Say what goes on, and what part of its step is done."""
        self._on_step(doing, min(1.0, (self._done + part) / self.steps))

    def advance(self, steps: float = 1.0) -> None:
        """Count steps as done."""
        self._done += steps
