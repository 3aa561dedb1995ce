"""All recipes by name."""

import difflib

from train.recipes.digits import DIGITS
from train.recipes.fashion_tinyvgg import FASHION_TINYVGG
from train.recipes.recipe import Recipe, RecipeError

RECIPES: dict[str, Recipe] = {
    "digits": DIGITS,
    "fashion-tinyvgg": FASHION_TINYVGG,
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        RecipeError: there is none; the nearest name is suggested.
    """
    recipe = RECIPES.get(name)
    if recipe is not None:
        return recipe
    nearest = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.5)
    remedy = f"did you mean {nearest[0]}?" if nearest else "see `python -m train list`"
    raise RecipeError(f"recipe {name!r} does not exist, but one of {', '.join(RECIPES)} was expected; {remedy}")
