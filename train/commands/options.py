"""The options that every training command has."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from train.recipes.recipe import ClassWeights, Recipe, ScheduleName


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How to train, and where to."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run directory to write; runs/RECIPE, or runs/DIR-MODEL of a folder, unless given. It is written whole or not
    at all."""

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


# What an option can change. The options are named like the fields of the recipe.
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


def change(recipe: Recipe, options: TrainingOptions) -> Recipe:
    """Return the recipe with what was asked for.

    Raises:
        RecipeError: it cannot be trained like that.
    """
    changes = {name: getattr(options, name) for name in CHANGES}
    return replace(recipe, **{name: value for name, value in changes.items() if value is not None})
