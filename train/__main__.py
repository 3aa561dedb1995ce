"""The command line of training: `python -m train list` and `python -m train run RECIPE`."""

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from train.data_root import default_data_root
from train.extra import explain_missing
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import RECIPES, find_recipe
from train.threads import limit_spinning


@dataclass(frozen=True, slots=True, kw_only=True)
class ListCommand:
    """List the recipes: task, data, parameters, and the test accuracy that the source notes print."""

    json: bool = False
    """Print JSON, for machines."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCommand:
    """Carry out a measured study of the source notes: a table, a plot, their claim, and whether it holds.

    Exit 0: carried out, whatever the verdict; 2: trouble, in one sentence.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """A study, or `list` for what each one asks."""

    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie, for the studies that read one; $DATA_ROOT where that is set."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder for the plot; studies/NAME unless given."""

    quick: bool = False
    """Take fewer rows, seeds and epochs: about a second, to see that it works."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    command = tyro.cli(
        Annotated[ListCommand, tyro.conf.subcommand("list")]
        | Annotated[RunCommand, tyro.conf.subcommand("run")]
        | Annotated[StudyCommand, tyro.conf.subcommand("study")],
        prog="python -m train",
        description="Train a recipe into a run that `python -m export` takes.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # curves are drawn in characters that not every terminal has
    if isinstance(command, ListCommand):
        print(_recipes_json() if command.json else _recipes_table())
        return 0
    if isinstance(command, StudyCommand):
        return _study(command)
    try:
        recipe = _changed_recipe(command)
    except RecipeError as error:
        return _trouble(error)
    return _run(command, recipe)


def _run(command: RunCommand, recipe: Recipe) -> int:
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
                return _trouble(error)
        except ModuleNotFoundError as error:
            return _trouble(explain_missing(error))
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


def _study(command: StudyCommand) -> int:
    from train.studies.registry import STUDIES, StudyError, carry_out, check_name

    if command.name == "list":
        width = max(map(len, STUDIES))
        print("\n".join(f"{name:<{width}}  {question}" for name, question in STUDIES.items()))
        return 0
    limit_spinning()
    try:
        check_name(command.name)
        from rich.console import Console

        from train.dataset import DataError
        from train.studies.result import show_result, write_plot

        try:
            result = carry_out(command.name, quick=command.quick, data_root=command.data_root)
        except DataError as error:
            return _trouble(error)
        # a file or a pipe has no width of its own: there the whole table fits
        Console(width=None if sys.stdout.isatty() else 150).print(show_result(result))
        plot = write_plot(result, command.out or Path("studies") / command.name)
    except (StudyError, OSError) as error:
        return _trouble(error)
    except ModuleNotFoundError as error:
        return _trouble(explain_missing(error))
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(f"plot: {plot}", file=sys.stderr)
    return 0


def _changed_recipe(command: RunCommand) -> Recipe:
    recipe = find_recipe(command.recipe)
    changes = {name: getattr(command, name) for name in ("seed", "epochs", "batch_size", "learning_rate", "threads")}
    return replace(recipe, **{name: value for name, value in changes.items() if value is not None})


def _recipes_json() -> str:
    return json.dumps([asdict(recipe) for recipe in RECIPES.values()], indent=2)


def _recipes_table() -> str:
    rows = [("recipe", "task", "data", "parameters", "notes", "what it is")]
    rows += [
        (
            recipe.name,
            recipe.task,
            recipe.data,
            f"{recipe.parameters:,}",
            "-" if recipe.notes_accuracy is None else f"{recipe.notes_accuracy:.2%}",
            recipe.title,
        )
        for recipe in RECIPES.values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _trouble(error: Exception | str) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
