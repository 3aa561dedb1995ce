"""`python -m train folder DIR`: train a network on images of one's own into a run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from train.commands.options import TrainingOptions, change
from train.commands.training import train_into_run
from train.commands.trouble import trouble
from train.folder_recipe import Augment, Fit, FolderChoices, folder_recipe
from train.image_models import IMAGE_MODELS, Color
from train.recipes.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from train.checkpoint import Earlier

_MODELS = ", ".join(f"{name} ({model.parameters:,})" for name, model in IMAGE_MODELS.items())
# What the choices decide of a recipe: with --resume they are compared with the run's, all else is taken from it.
_CHOSEN = ("labels", "factory", "factory_args", "preprocessing", "mean", "std", "augmentation", "folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCommand(TrainingOptions):
    """Train on images of your own, one folder per class, and write a run as `python -m train run` does.

    DIR holds either train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg: then a part of each class is held out to
    test with, always the same part. The classes are called like their folders, in alphabetical order. Images are
    decoded, turned upright and resized exactly as serving does it; their formats and sizes may be mixed.

    The recipe, where options speak of one: 20 epochs of Adam at 0.001, 32 images a step, seed 42.

    Exit 0: trained; 2: trouble, in one sentence; 130 (143): stopped by Ctrl-C (SIGTERM), which --resume goes on from.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """The folder of images."""

    model: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="NAME",
            help=f"The network; tinyvgg unless given. With its parameters for 64x64 images and 3 classes: {_MODELS}.",
        ),
    ] = None

    size: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Height and width of what the network gets, in pixels; 64 unless given."""

    fit: Annotated[Fit | None, tyro.conf.arg(metavar="stretch|crop|ink")] = None
    """How an image becomes a square: stretch the whole (unless given), crop the centre, or cut out a drawing's ink."""

    color: Annotated[Color | None, tyro.conf.arg(metavar="RGB|L")] = None
    """RGB, or L for grey; RGB unless given, but L with ink and for digits-cnn."""

    augment: Annotated[Augment | None, tyro.conf.arg(metavar="none|trivial-wide|vary-pen")] = None
    """Vary the training images anew in each epoch: trivial-wide for photos, vary-pen for white drawings on black (ink).
    none unless given."""

    test_share: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Share of each class to hold out, where DIR has no train and test; 0.2 unless given."""

    split_seed: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Decides which images that are; 0 unless given. Apart from --seed, so that runs with other seeds are tested on the
    same images."""


def train_folder(command: FolderCommand) -> int:
    """Train, show the progress, write the run; return the exit code."""
    if command.resume and command.overwrite:
        return trouble("--resume goes on with the run in --out, but --overwrite replaces it; give one of them")
    from train.dataset import DataError
    from train.folder_listing import list_image_folder

    path = command.folder
    if path.name in {"", ".."}:  # `.` and `..` have no name of their own
        path = path.resolve()
    choices = FolderChoices(
        model=command.model,
        size=command.size,
        fit=command.fit,
        color=command.color,
        augment=command.augment,
        test_share=command.test_share,
        split_seed=command.split_seed,
    )
    try:
        listing = list_image_folder(path)
        recipe = folder_recipe(path.name, listing, choices)
        if not command.resume:
            recipe = change(recipe, command)
    except (DataError, RecipeError) as error:
        return trouble(error)

    def make(earlier: "Earlier | None") -> Recipe:
        from train.checkpoint import recorded_settings
        from train.recipe_of_run import choices_of_run, count_parameters

        if earlier is None:
            return replace(recipe, parameters=count_parameters(recipe))

        if earlier.run.folder is None:
            raise RecipeError(
                f"{earlier.path} was trained from recipe {earlier.run.recipe}, not {recipe.name}; give another --out"
            )
        asked = folder_recipe(path.name, listing, choices.filled_from(choices_of_run(earlier.run), str(earlier.path)))
        recorded = {name: value for name, value in recorded_settings(earlier.run).items() if name not in _CHOSEN}
        return change(replace(asked, parameters=earlier.run.parameters, **recorded), command)

    return train_into_run(command, out=command.out or Path("runs") / recipe.name, data_root=path.parent, make=make)
