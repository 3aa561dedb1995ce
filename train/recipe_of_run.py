"""Which recipe a run was trained from, and where its data is: of this project's, or of a folder of one's own."""

from pathlib import Path
from typing import cast

import torch

from train.checkpoint import recorded_settings
from train.dataset import MissingDataError
from train.folder_recipe import IMAGE_FOLDER, Augment, FolderChoices, folder_title
from train.image_folder import find_folder
from train.image_models import model_name
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES
from train.run import Run, build_network


def recipe_of_run(run: Run) -> Recipe | None:
    """Return the recipe of a run's name, or the one that a folder's run records; None where neither exists.

    Raises:
        RecipeError: what a folder's run records cannot be trained.
    """
    if run.folder is None or run.preprocessing is None:
        return RECIPES.get(run.recipe or "")
    return Recipe(
        name=run.recipe or run.folder.name,
        title=folder_title(run.folder.name, run.preprocessing.height, run.factory),
        data=IMAGE_FOLDER,
        parameters=run.parameters,
        **recorded_settings(run),
    )


def data_root_of(run: Run, given: Path | None) -> Path:
    """Return the data root that is given, but for a folder that is not there, and for None, where the run read it."""
    recorded = Path(run.data.root)
    if given is None or run.folder is None:
        return given or recorded
    try:
        find_folder(run.folder.name, given)
    except MissingDataError:
        return recorded
    return given


def choices_of_run(run: Run) -> FolderChoices:
    """Return what was chosen for a folder's run; of another run, nothing."""
    if run.folder is None or run.preprocessing is None:
        return FolderChoices()
    return FolderChoices(
        model=model_name(run.factory),
        size=run.preprocessing.height,
        fit=run.preprocessing.fit,
        color=run.preprocessing.color,
        augment=cast("Augment", run.augmentation or "none"),
        test_share=run.folder.test_share,
        split_seed=run.folder.split_seed,
    )


def count_parameters(recipe: Recipe) -> int:
    """Build a recipe's network without its numbers, and count them.

    Raises:
        RunError: it cannot be built like that.
    """
    with torch.device("meta"):
        network = build_network(recipe.factory, recipe.factory_args)
    return sum(parameter.numel() for parameter in network.parameters())
