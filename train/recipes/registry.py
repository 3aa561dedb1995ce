"""All recipes by name."""

import difflib

from train.recipes.blobs import BLOBS
from train.recipes.circles import CIRCLES_V0, CIRCLES_V1, CIRCLES_V2
from train.recipes.digits import DIGITS
from train.recipes.fashion import (
    FASHION_DROPOUT_MLP,
    FASHION_MLP,
    FASHION_SOFTMAX,
    FASHION_SOFTMAX_1000,
    FASHION_SOFTMAX_SCRATCH,
    FASHION_V0,
    FASHION_V1,
)
from train.recipes.fashion_tinyvgg import FASHION_TINYVGG
from train.recipes.food import FOOD_IMPROVED_TINYVGG, FOOD_TINYVGG, FOOD_TINYVGG_AUGMENTED
from train.recipes.house_prices import HOUSE_PRICES
from train.recipes.line import LINE_DEEP, LINE_LINEAR, LINE_PARAMETERS
from train.recipes.linreg import LINREG, LINREG_SCRATCH, WEIGHT_DECAY_0, WEIGHT_DECAY_3
from train.recipes.polynomial import POLYNOMIAL, POLYNOMIAL_1, POLYNOMIAL_20
from train.recipes.recipe import Recipe, RecipeError

RECIPES: dict[str, Recipe] = {
    "digits": DIGITS,
    "fashion-tinyvgg": FASHION_TINYVGG,
    "fashion-softmax-scratch": FASHION_SOFTMAX_SCRATCH,
    "fashion-softmax": FASHION_SOFTMAX,
    "fashion-softmax-1000": FASHION_SOFTMAX_1000,
    "fashion-mlp": FASHION_MLP,
    "fashion-dropout-mlp": FASHION_DROPOUT_MLP,
    "fashion-v0": FASHION_V0,
    "fashion-v1": FASHION_V1,
    "food-tinyvgg": FOOD_TINYVGG,
    "food-tinyvgg-augmented": FOOD_TINYVGG_AUGMENTED,
    "food-improved-tinyvgg": FOOD_IMPROVED_TINYVGG,
    "line-parameters": LINE_PARAMETERS,
    "line-linear": LINE_LINEAR,
    "line-deep": LINE_DEEP,
    "linreg-scratch": LINREG_SCRATCH,
    "linreg": LINREG,
    "weight-decay-0": WEIGHT_DECAY_0,
    "weight-decay-3": WEIGHT_DECAY_3,
    "circles-v0": CIRCLES_V0,
    "circles-v1": CIRCLES_V1,
    "circles-v2": CIRCLES_V2,
    "blobs": BLOBS,
    "house-prices": HOUSE_PRICES,
    "polynomial": POLYNOMIAL,
    "polynomial-1": POLYNOMIAL_1,
    "polynomial-20": POLYNOMIAL_20,
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        RecipeError: there is none; the nearest name is suggested.
    """
    recipe = RECIPES.get(name)
    if recipe is not None:
        return recipe
    nearest = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.6)
    remedy = f"did you mean {nearest[0]}?" if nearest else "choose one of those"
    raise RecipeError(
        f"recipe {name!r} does not exist, but one of the {len(RECIPES)} of `python -m train list` was expected; "
        f"{remedy}"
    )
