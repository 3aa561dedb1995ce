"""What people see while a run trains and when it is done: a bar in a terminal, one plain line per epoch elsewhere."""

import shlex
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from train.checkpoint import Earlier
from train.curves import draw_text
from train.device import DeviceChoice
from train.diagnose import diagnose_run
from train.fit import Fitted
from train.loop import Totals
from train.recipes.recipe import Recipe
from train.run import EpochMetrics, Run

FIRST_LINES = 10
MOST_LINES = 100
LINE_S = 5.0  # an epoch that is shown for no other reason is shown when so long nothing was
REFRESH_S = 0.25  # reading loss and accuracy waits for the device, so it is done this seldom


class TrainingProgress:
    """A `train.loop.Watcher` that draws; use it in a ``with`` statement, in a terminal, a pipe or a notebook cell.

    Args:
        console: Where to; on stderr, so that stdout is free for results.
        epochs: How many epochs are planned.
    """

    def __init__(self, console: Console, *, epochs: int) -> None:
        self._console = console
        self._epochs = epochs
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            auto_refresh=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, figures="")
        self._next_refresh = 0.0
        self._next_line = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def batch_done(self, epoch: int, totals: Totals, rows: int) -> None:
        """Move the bar, a few times a second."""
        now = time.perf_counter()
        if self._bar.disable or now < self._next_refresh:
            return
        self._next_refresh = now + REFRESH_S
        loss, accuracy = totals.means()
        self._bar.update(
            self._task,
            description=f"epoch {epoch}/{self._epochs}",
            completed=(epoch - 1) * rows + totals.rows,
            total=self._epochs * rows,
            figures=f"loss {loss:.4f}" + ("" if accuracy is None else f"  accuracy {accuracy:.1%}"),
        )
        self._bar.refresh()

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """Print the epoch's line; where there are many short epochs, that of some."""
        now = time.perf_counter()
        every = max(1, self._epochs // MOST_LINES)
        shown = metrics.epoch <= FIRST_LINES or metrics.epoch % every == 0 or metrics.epoch == self._epochs
        if not shown and now < self._next_line:
            return
        self._next_line = now + LINE_S
        validation = ""
        if metrics.validation_loss is not None:
            validation = f"  validation {_figures(metrics.validation_loss, metrics.validation_top1_accuracy)}"
        self._console.print(
            f"epoch {metrics.epoch:>{len(str(self._epochs))}}/{self._epochs}"
            f"  train {_figures(metrics.train_loss, metrics.train_top1_accuracy)}"
            f"{validation}"
            f"  test {_figures(metrics.test_loss, metrics.test_top1_accuracy)}"
            f"  {metrics.duration_s:.1f} s",
            highlight=False,
            soft_wrap=True,
        )

    def say(self, sentence: str) -> None:
        """Print a sentence among the lines."""
        self._console.print(f"note: {sentence}", highlight=False, soft_wrap=True, markup=False)


def announce(recipe: Recipe, choice: DeviceChoice, earlier: Earlier | None) -> str:
    """Say in one line what is about to be trained, and where."""
    epochs = f"{recipe.epochs} epochs"
    if earlier is not None:
        epochs = f"epochs {earlier.run.epochs_done + 1} to {recipe.epochs}"
    return f"{recipe.title}: {epochs} on {choice.device} ({choice.reason})"


def summarise(fitted: Fitted, recipe: Recipe, out: Path) -> str:
    """Say in a few lines what came out of a run, where it is, and what to do next."""
    run = fitted.run
    notes = []
    if recipe.notes_accuracy is not None:
        notes.append(f"{recipe.notes_accuracy:.2%} right")
    if recipe.notes_loss is not None:
        notes.append(f"loss {recipe.notes_loss:.4f}")
    lines = [
        draw_text(fitted.history),
        "",
        _result(run),
        *([f"notes    {', '.join(notes)} (source notes {recipe.notes})"] if notes else []),
        *([] if run.best_epoch is None else [_kept(run)]),
        f"diagnosis {diagnose_run(run, fitted.history)}",
        f"trained  {run.epochs_done} of {run.epochs} epochs in {run.duration_s:.1f} s on {run.device} "
        f"({run.device_reason})",
        f"run      {out}",
        f"next     python -m export {shlex.quote(str(out))}",
    ]
    return "\n".join(lines)


def _figures(loss: float, accuracy: float | None) -> str:
    return f"loss {loss:.4f}" + ("" if accuracy is None else f" accuracy {accuracy:7.2%}")


def _kept(run: Run) -> str:
    early = f"; stopped early, {run.patience} epochs without a better one" if run.stopped_early else ""
    weighted = run.metrics.get("validation_weighted_loss")
    loss = f"validation loss {run.metrics['validation_loss']:.4f}"
    if weighted is not None:
        loss = f"weighted validation loss {weighted:.4f}"
    return f"kept     epoch {run.best_epoch}, {loss}{early}"


def _result(run: Run) -> str:
    metrics = run.metrics
    if "test_top1_accuracy" not in metrics:
        return f"result   loss {metrics['test_loss']:.6g} on {run.data.test_rows:,} test rows"
    kind = "rows" if run.preprocessing is None else "images"
    return (
        f"result   {metrics['test_top1_accuracy']:.2%} of {run.data.test_rows:,} test {kind} right, "
        f"loss {metrics['test_loss']:.4f}; always the commonest class: {metrics['chance_top1_accuracy']:.2%}"
    )
