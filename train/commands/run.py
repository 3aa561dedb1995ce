"""`python -m train run RECIPE`: train it into a run."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from train.commands.trouble import trouble
from train.data_root import default_data_root
from train.extra import explain_missing
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import find_recipe
from train.threads import limit_spinning


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommand:
    """Train a recipe and write a run: state_dict.pt, run.json, metrics.csv and curves.png.

    Ctrl-C (and SIGTERM) keeps the state after the last whole epoch as a run that says it is not finished, and exits
    130 (143); before the first whole epoch nothing is written. Exit 0: trained; 2: trouble, in one sentence.
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """A name from `python -m train list`."""

    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie or are downloaded to; $DATA_ROOT where that is set."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run directory to write; runs/RECIPE unless given. It is written whole or not at all."""

    overwrite: bool = False
    """Replace a finished run in --out. A stopped one is replaced without asking, anything else never."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes cuda before mps before cpu. A device that is not there is an error."""

    seed: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Of the weights, the order and the augmentation, in place of the recipe's."""

    epochs: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Passes over the training data, in place of the recipe's."""

    batch_size: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Rows per step, in place of the recipe's."""

    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """Step size, in place of the recipe's."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads, in place of the recipe's or torch's choice. Equal threads and seeds give equal weights."""


def run_recipe(command: RunCommand) -> int:
    """Train, show the progress, write the run; return the exit code."""
    try:
        recipe = _changed_recipe(command)
    except RecipeError as error:
        return trouble(error)
    return _train(command, recipe)


def _train(command: RunCommand, recipe: Recipe) -> int:
    limit_spinning()
    from rich.console import Console

    from train.interrupt import stop_on_signal

    with stop_on_signal() as stop:
        try:
            from train.dataset import DataError
            from train.device import DeviceError, choose_device
            from train.fit import fit
            from train.loop import TrainingError
            from train.progress import TrainingProgress, summarise
            from train.run import RunError
            from train.write import check_out, write_run

            out = command.out or Path("runs") / recipe.name
            try:
                check_out(out, overwrite=command.overwrite)
                choice = choose_device(command.device)
                print(f"{recipe.title}: {recipe.epochs} epochs on {choice.device} ({choice.reason})", file=sys.stderr)
                with TrainingProgress(Console(stderr=True), epochs=recipe.epochs) as progress:
                    fitted = fit(recipe, data_root=command.data_root, choice=choice, watcher=progress, stop=stop)
                if fitted is not None:
                    write_run(out, fitted.run, fitted.weights, fitted.history, overwrite=command.overwrite)
            except (DataError, DeviceError, TrainingError, RunError) as error:
                return trouble(error)
        except ModuleNotFoundError as error:
            return trouble(explain_missing(error))
        except KeyboardInterrupt:
            print("stopped at once; nothing was written", file=sys.stderr)
            return stop.exit_code
        if fitted is None:
            print("stopped before the first epoch was whole; nothing was written", file=sys.stderr)
            return stop.exit_code
        print(summarise(fitted, recipe, out))
        if fitted.run.finished:
            return 0
        print(f"stopped: {out} holds the state after epoch {fitted.run.epochs_done}", file=sys.stderr)
        return stop.exit_code


def _changed_recipe(command: RunCommand) -> Recipe:
    recipe = find_recipe(command.recipe)
    changes = {name: getattr(command, name) for name in ("seed", "epochs", "batch_size", "learning_rate", "threads")}
    return replace(recipe, **{name: value for name, value in changes.items() if value is not None})
