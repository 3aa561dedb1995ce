"""What people see while recipes are reproduced: one line per step on stderr, and in a terminal what goes on."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from train.recipes.recipe import Recipe
from train.reproduction.result import Step


class ReproductionProgress:
    """Tells of steps as they start and end; use it in a ``with`` statement."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("starting", console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def start(self, recipe: Recipe, step: str) -> None:
        """Tell that a step starts."""
        if self._status is not None:
            self._status.update(f"{recipe.name}: {step}")

    def done(self, recipe: Recipe, step: Step) -> None:
        """Tell that a step is done."""
        self._say(f"{recipe.name:<24} {step.name:<8} {step.duration_s:7.1f} s  {step.note}")

    def kept(self, recipe: Recipe) -> None:
        """Tell that a recipe was done before."""
        self._say(f"{recipe.name:<24} is done already, from the same recipe and source")

    def _say(self, line: str) -> None:
        self._console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)
