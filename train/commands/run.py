"""`python -m train run RECIPE`: train it into a run."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from train.commands.options import TrainingOptions, change
from train.commands.training import train_into_run
from train.commands.trouble import trouble
from train.data_root import default_data_root
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import find_recipe

if TYPE_CHECKING:
    from train.checkpoint import Earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommand(TrainingOptions):
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


def run_recipe(command: RunCommand, *, save_every_s: float = 30.0) -> int:
    """Train, show the progress, write the run; return the exit code."""
    try:
        recipe = find_recipe(command.recipe)
        if not command.resume:
            recipe = change(recipe, command)
        elif command.overwrite:
            return trouble("--resume goes on with the run in --out, but --overwrite replaces it; give one of them")
    except RecipeError as error:
        return trouble(error)

    def make(earlier: "Earlier | None") -> Recipe:
        if earlier is None:
            return recipe
        from train.checkpoint import recorded_settings

        return change(replace(recipe, **recorded_settings(earlier.run)), command)

    return train_into_run(
        command,
        out=command.out or Path("runs") / recipe.name,
        data_root=command.data_root,
        make=make,
        save_every_s=save_every_s,
    )
