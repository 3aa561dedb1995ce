"""What a run keeps so that its training can go on: bit for bit as if it had never stopped."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.early_stopping import patience_is_spent
from train.recipes.recipe import Recipe
from train.run import CHECKPOINT, EpochMetrics, Run, RunError, read_metrics, read_run

FORMAT = 1
# Everything of a recipe that a run records under the same name and that decides what is computed; not the epochs.
SETTINGS = tuple(
    field.name
    for field in fields(Recipe)
    if field.name in {field.name for field in fields(Run)} and field.name not in {"epochs", "parameters", "data"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state after a whole epoch: about one to three times the size of the weights, four with patience.

    Attributes:
        network: State dict after that epoch, on the CPU.
        state: From `train.state.TrainingState.state_dict`.
        best_weights: State dict after the best epoch so far; None without patience.
    """

    network: dict[str, Tensor]
    state: dict[str, Any]
    best_weights: dict[str, Tensor] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A run to go on with."""

    path: Path
    run: Run
    history: tuple[EpochMetrics, ...]
    checkpoint: Checkpoint


def encode_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what ``torch.save`` is to write."""
    return {
        "format": FORMAT,
        "network": checkpoint.network,
        "state": checkpoint.state,
        "best_weights": checkpoint.best_weights,
    }


def read_earlier(path: Path) -> Earlier:
    """Read a run with its checkpoint.

    Raises:
        RunError: there is no run, it has no checkpoint, or a file is damaged.
    """
    run, history = read_run(path), tuple(read_metrics(path))
    file = path / CHECKPOINT
    if not file.is_file():
        raise RunError(f"{file} is missing, so training cannot go on from there; train again without --resume")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for a damaged file, with advice on code
        raise damaged(path, "it is no file of tensors and numbers that can be read") from error
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, but {FORMAT} was expected")
        checkpoint = Checkpoint(
            network=dict(content["network"]), state=dict(content["state"]), best_weights=content["best_weights"]
        )
        epochs = int(checkpoint.state["epochs_done"])
    except Exception as error:  # whatever stands there instead raises what it raises
        raise damaged(path, error) from error
    if run.epochs_done != epochs:
        raise damaged(path, f"it is of epoch {epochs}, but {run.epochs_done} are recorded")
    return Earlier(path=path, run=run, history=history, checkpoint=checkpoint)


def damaged(path: Path, reason: Exception | str) -> RunError:
    """Return the error of a checkpoint that cannot be gone on from."""
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    return RunError(f"{path / CHECKPOINT} is damaged ({lines[0]}); train again without --resume")


def recorded_settings(run: Run) -> dict[str, Any]:
    """Return what a recipe must be changed to, to be the one that the run was trained with."""
    return {name: getattr(run, name) for name in (*SETTINGS, "epochs")}


def check_continues(recipe: Recipe, earlier: Earlier) -> None:
    """Check that a recipe goes on where a run stands.

    Raises:
        RunError: it is another recipe, a setting differs, or there is nothing left to do.
    """
    run, path = earlier.run, earlier.path
    if recipe.name != run.recipe:
        raise RunError(f"{path} was trained from recipe {run.recipe}, not {recipe.name}; give another --out")
    for name in SETTINGS:
        asked, recorded = getattr(recipe, name), getattr(run, name)
        if name == "threads" and asked is None:
            continue  # torch's own choice, which the run records
        if asked != recorded:
            raise RunError(
                f"{path} was trained with {name} {recorded}, but {asked} is asked for; "
                "leave it out, or train again without --resume"
            )
    if run.schedule == "cosine" and recipe.epochs != run.epochs:
        raise RunError(
            f"{path} has schedule cosine, planned for {run.epochs} epochs, but {recipe.epochs} are asked for, which "
            "would have changed every one; train again without --resume"
        )
    measured = all(metrics.choosing_loss is not None for metrics in earlier.history)
    if run.patience is not None and not measured and not run.stopped_early:
        raise RunError(f"{path} has patience {run.patience}, but an epoch without a validation loss; train again")
    if run.stopped_early or patience_is_spent(earlier.history, run.patience):
        raise RunError(
            f"{path} stopped early after epoch {run.epochs_done}, when its patience of {run.patience} was spent; "
            "train again with a larger --patience"
        )
    if recipe.epochs <= run.epochs_done:
        raise RunError(
            f"{path} has done {run.epochs_done} of {recipe.epochs} epochs, so there is nothing left to train; "
            "give a larger --epochs"
        )
