"""`python -m train run RECIPE`: train it into a run."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from train.commands.trouble import trouble
from train.data_root import default_data_root
from train.extra import explain_missing
from train.recipes.recipe import ClassWeights, Recipe, RecipeError, ScheduleName
from train.recipes.registry import find_recipe
from train.threads import limit_spinning

if TYPE_CHECKING:
    from train.checkpoint import Earlier
    from train.device import DeviceName
    from train.interrupt import StopRequest
    from train.saving import Saving


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommand:
    """Train a recipe and write a run: state_dict.pt, run.json, metrics.csv, curves.png and checkpoint.pt.

    Ctrl-C (and SIGTERM) keeps the state after the last whole epoch as a run that says it is not finished, and exits
    130 (143); before the first whole epoch nothing is written. A second one ends at once, and the run stays as it was
    last written; while the run is being written at the end, it is ignored. So that a crash loses little, the run is
    also written every half minute. What cannot be written to --out at the end is written to RUN-rescued beside it.

    With --resume a stopped run is finished, and a finished one is trained on to a larger --epochs: checkpoint.pt, one
    to four times the size of the weights, is what that needs, and nothing else does.

    The test split is never used to choose: --patience and the plateau schedule go by the split that --validation sets
    aside. Momentum, weight decay and optimizer are the recipe's; from Python, `dataclasses.replace` changes them.

    Exit 0: trained; 2: trouble, in one sentence.
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """A name from `python -m train list`."""

    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie or are downloaded to; $DATA_ROOT where that is set."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run directory to write; runs/RECIPE unless given. It is written whole or not at all."""

    overwrite: bool = False
    """Replace a finished run in --out, as soon as there is a first epoch to keep. A stopped one is replaced without
    asking, anything else never."""

    resume: bool = False
    """Go on with the run in --out, with its recorded settings: finish it if it was stopped, or train it on up to
    --epochs in all. On a CPU the weights are those of a run that was never interrupted."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes cuda before mps before cpu. A device that is not there is an error."""

    seed: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Of the weights, the order and the augmentation, in place of the recipe's."""

    epochs: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Passes over the training data, in place of the recipe's; with --resume those already done count."""

    batch_size: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Rows per step, in place of the recipe's."""

    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """Step size, in place of the recipe's."""

    schedule: Annotated[ScheduleName | None, tyro.conf.arg(metavar="constant|step|cosine|plateau")] = None
    """How the learning rate changes: constant; step, times 0.7 every 2 epochs; cosine, down to 0 over all epochs;
    plateau, halved after 3 epochs without a better validation loss."""

    validation: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Share of the training rows to set aside and choose by, such as 0.1; each class gives the same share."""

    patience: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Stop after N epochs without a better validation loss, and keep the best epoch; unless given, the last is kept."""

    class_weights: Annotated[ClassWeights | None, tyro.conf.arg(metavar="none|balanced")] = None
    """balanced: rows of rare classes weigh more in training, so that all classes weigh the same. Reported losses stay
    unweighted."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads, in place of the recipe's or torch's choice. Equal threads and seeds give equal weights."""


# What a flag can change. The flags are named like the fields of the recipe.
CHANGES = (
    "seed",
    "epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "validation",
    "patience",
    "class_weights",
    "threads",
)


def run_recipe(command: RunCommand, *, save_every_s: float = 30.0) -> int:
    """Train, show the progress, write the run; return the exit code."""
    try:
        recipe = find_recipe(command.recipe)
        if not command.resume:
            recipe = _change(recipe, command)
        elif command.overwrite:
            return trouble("--resume goes on with the run in --out, but --overwrite replaces it; give one of them")
    except RecipeError as error:
        return trouble(error)
    return _train(command, recipe, save_every_s=save_every_s)


def _train(command: RunCommand, recipe: Recipe, *, save_every_s: float) -> int:
    limit_spinning()
    from train.interrupt import stop_on_signal
    from train.saving import Saving

    out = command.out or Path("runs") / recipe.name
    saving = Saving(out=out, overwrite=command.overwrite or command.resume, written=command.resume)
    with stop_on_signal() as stop:
        try:
            from train.dataset import DataError
            from train.device import DeviceError
            from train.errors import RunError, TrainingError
            from train.run_place import hold_run

            try:
                with hold_run(out):
                    return _train_held(command, recipe, saving, stop, save_every_s=save_every_s)
            except (DataError, DeviceError, RecipeError, RunError, TrainingError) as error:
                return trouble(error)
        except ModuleNotFoundError as error:
            return trouble(explain_missing(error))
        except KeyboardInterrupt:
            print(f"stopped at once; {saving.state()}", file=sys.stderr)
            return stop.exit_code


def _train_held(
    command: RunCommand, recipe: Recipe, saving: "Saving", stop: "StopRequest", *, save_every_s: float
) -> int:
    from rich.console import Console

    from train.checkpoint import read_earlier, recorded_settings
    from train.device import choose_device
    from train.fit import fit
    from train.progress import TrainingProgress, announce, summarise
    from train.run_place import rescue_run
    from train.write import check_out

    out = saving.out
    rescue_run(out)
    earlier = None
    if command.resume:
        earlier = read_earlier(out)
        recipe = _change(replace(recipe, **recorded_settings(earlier.run)), command)
    check_out(out, overwrite=saving.overwrite)
    choice = choose_device(_device(command, earlier))
    if earlier is not None and command.device == "auto":
        choice = replace(choice, reason=earlier.run.device_reason)
    with TrainingProgress(Console(stderr=True), epochs=recipe.epochs) as progress:
        fitted = fit(
            recipe,
            data_root=command.data_root,
            choice=choice,
            watcher=progress,
            stop=stop,
            earlier=earlier,
            save=lambda fitted: saving.save_on_the_way(fitted, progress.say),
            save_every_s=save_every_s,
            say=progress.say,
            begin=lambda: print(announce(recipe, choice, earlier), file=sys.stderr),
        )
    if fitted is None:
        print(f"stopped before an epoch was whole; {saving.state()}", file=sys.stderr)
        return stop.exit_code
    with stop.shielded():
        saving.save_at_last(fitted)
    print(summarise(fitted, recipe, out))
    if fitted.run.finished:
        return 0
    print(
        f"stopped: {out} holds the state after epoch {fitted.run.kept_epoch}; --resume goes on with it",
        file=sys.stderr,
    )
    return stop.exit_code


def _change(recipe: Recipe, command: RunCommand) -> Recipe:
    changes = {name: getattr(command, name) for name in CHANGES}
    return replace(recipe, **{name: value for name, value in changes.items() if value is not None})


def _device(command: RunCommand, earlier: "Earlier | None") -> "DeviceName":
    """Return the device to choose: with --resume, auto is the one that the run was trained on."""
    if earlier is None or command.device != "auto":
        return command.device
    return cast("DeviceName", earlier.run.device.partition(":")[0])
