"""What can be drawn, and of what. Imports neither torch nor matplotlib, so that a wrong name is refused at once."""

import difflib
from pathlib import Path
from typing import Literal, Protocol, get_args

from serve.bundle import Feature, ImagePreprocessing, Task
from train.pictures.picture import PictureError
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES

Kind = Literal[
    "samples", "augmented", "layers", "curves", "boundary", "fit", "predictions", "errors", "confusion", "probabilities"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
OF_RECIPES: frozenset[Kind] = frozenset({"samples", "augmented", "layers"})

# What each kind needs beyond a run, in words; what is not here needs nothing.
NEEDS: dict[Kind, str] = {
    "augmented": "an augmentation",
    "boundary": "classes and two features that are numbers",
    "fit": "a regression",
    "predictions": "classes of images",
    "errors": "classes of images",
    "confusion": "classes",
    "probabilities": "classes",
}


class Spec(Protocol):
    """What recipes and runs have in common, and kinds ask for."""

    @property
    def task(self) -> Task:
        """What the outputs mean."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """Columns of the table; empty for images."""

    @property
    def preprocessing(self) -> ImagePreprocessing | None:
        """How an image is prepared; None for a table."""

    @property
    def augmentation(self) -> str | None:
        """How training images are varied, or None."""


def fits(kind: Kind, spec: Spec) -> bool:
    """Return whether a kind makes sense of such a model."""
    classes, images = spec.task != "regression", spec.preprocessing is not None
    match kind:
        case "augmented":
            return spec.augmentation is not None
        case "boundary":
            return classes and len(spec.features) == 2 and not any(feature.categories for feature in spec.features)
        case "fit":
            return not classes
        case "predictions" | "errors":
            return classes and images
        case "confusion" | "probabilities":
            return classes
        case _:
            return True


def check_kind(kind: Kind, name: str, spec: Spec, *, trained: bool) -> None:
    """Check that a kind can be drawn of a subject.

    Args:
        kind: What is to be drawn.
        name: What the subject is called, for the message.
        spec: Its recipe or run.
        trained: Whether it is a run.

    Raises:
        PictureError: it cannot; says what can.
    """
    fitting = [other for other in KINDS if fits(other, spec) and (trained or other in OF_RECIPES)]
    if not fits(kind, spec):
        if kind == "augmented":
            those = ", ".join(recipe.name for recipe in RECIPES.values() if recipe.augmentation)
            raise PictureError(f"{name} has no augmentation, but {kind} needs one; of the recipes, {those} have one")
        raise PictureError(
            f"{name} is {_describe(spec)}, but {kind} needs {NEEDS[kind]}; what fits it: {', '.join(fitting)}"
        )
    if kind not in OF_RECIPES and not trained:
        raise PictureError(
            f"{name} is a recipe, but {kind} needs a run; give a run directory such as runs/{name}, which "
            f"`python -m train run {name}` makes"
        )


def recipe_named(name: str) -> Recipe:
    """Return the recipe that a subject names.

    Raises:
        PictureError: there is neither a recipe nor a path of that name, or a path that holds no run.
    """
    recipe = RECIPES.get(name)
    if recipe is not None:
        return recipe
    if Path(name).exists():
        raise PictureError(
            f"{name} is no run: it has no run.json; give a run directory that `python -m train run RECIPE` made"
        )
    nearest = difflib.get_close_matches(Path(name).name, RECIPES, n=1, cutoff=0.6)
    remedy = f"did you mean {nearest[0]}?" if nearest else "see `python -m train list`"
    raise PictureError(f"{name} is neither a recipe nor a run directory, but one of them was expected; {remedy}")


def _describe(spec: Spec) -> str:
    what = "a regression" if spec.task == "regression" else "a classification"
    if spec.preprocessing is not None:
        return f"{what} of images"
    number = len(spec.features)
    return f"{what} of {number} feature{'' if number == 1 else 's'}"
