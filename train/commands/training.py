"""Training as a command does it: one at a time in a run, seen on the way, stopped by signals, written at the end."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from train.commands.options import TrainingOptions
from train.commands.trouble import trouble
from train.extra import explain_missing
from train.recipes.recipe import Recipe, RecipeError
from train.threads import limit_spinning

if TYPE_CHECKING:
    from train.checkpoint import Earlier
    from train.device import DeviceName
    from train.interrupt import StopRequest
    from train.saving import Saving


def train_into_run(
    options: TrainingOptions,
    *,
    out: Path,
    data_root: Path,
    make: Callable[["Earlier | None"], Recipe],
    save_every_s: float = 30.0,
) -> int:
    """Train, show the progress, write the run; return the exit code.

    Args:
        options: How to train; what they change of the recipe, ``make`` has changed.
        out: The run directory.
        data_root: Where the data is.
        make: Returns the recipe, given the run that is to be gone on with, or None.
        save_every_s: The least time between two writes on the way.
    """
    limit_spinning()
    from train.interrupt import stop_on_signal
    from train.saving import Saving

    saving = Saving(out=out, overwrite=options.overwrite or options.resume, written=options.resume)
    with stop_on_signal() as stop:
        try:
            from train.dataset import DataError
            from train.device import DeviceError
            from train.errors import RunError, TrainingError
            from train.run_place import hold_run

            try:
                with hold_run(out):
                    return _train_held(options, saving, stop, data_root=data_root, make=make, save_every_s=save_every_s)
            except (DataError, DeviceError, RecipeError, RunError, TrainingError) as error:
                return trouble(error)
        except ModuleNotFoundError as error:
            return trouble(explain_missing(error))
        except KeyboardInterrupt:
            print(f"stopped at once; {saving.state()}", file=sys.stderr)
            return stop.exit_code


def _train_held(
    options: TrainingOptions,
    saving: "Saving",
    stop: "StopRequest",
    *,
    data_root: Path,
    make: Callable[["Earlier | None"], Recipe],
    save_every_s: float,
) -> int:
    from rich.console import Console

    from train.checkpoint import read_earlier
    from train.device import choose_device
    from train.fit import fit
    from train.progress import TrainingProgress, announce, summarise
    from train.run_place import rescue_run
    from train.write import check_out

    out = saving.out
    rescue_run(out)
    earlier = read_earlier(out) if options.resume else None
    recipe = make(earlier)
    check_out(out, overwrite=saving.overwrite)
    choice = choose_device(_device(options, earlier))
    if earlier is not None and options.device == "auto":
        choice = replace(choice, reason=earlier.run.device_reason)
    with TrainingProgress(Console(stderr=True), epochs=recipe.epochs) as progress:
        fitted = fit(
            recipe,
            data_root=data_root,
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


def _device(options: TrainingOptions, earlier: "Earlier | None") -> "DeviceName":
    """Return the device to choose: with --resume, auto is the one that the run was trained on."""
    if earlier is None or options.device != "auto":
        return options.device
    return cast("DeviceName", earlier.run.device.partition(":")[0])
