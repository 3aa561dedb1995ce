"""All recipes one after the other; what is done and still good is not done again."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from train.dataset import DataError
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES
from train.reproduction.examples import EXAMPLES
from train.reproduction.judge import judge
from train.reproduction.page import Judged, judge_result, write_page
from train.reproduction.pipeline import Place, carry_out
from train.reproduction.processes import StepError
from train.reproduction.repeat import MeasureError
from train.reproduction.result import (
    Result,
    Step,
    read_result,
    recipe_digest,
    source_digest,
    write_file,
    write_result,
)
from train.reproduction.worked import work_out
from train.run import RunError


def reproduce_recipes(
    recipes: Sequence[Recipe],
    place: Place,
    *,
    fresh: bool,
    on_step: Callable[[Recipe, Step], None],
    on_start: Callable[[Recipe, str], None],
    on_kept: Callable[[Recipe], None],
) -> list[str]:
    """Carry out every recipe that is not done yet, and keep each result as soon as there is one.

    Returns:
        What could not be done, a sentence each; the others are done all the same.

    Raises:
        ResultError: a result cannot be read or written.
    """
    troubles = []
    for recipe in recipes:
        path = place.result(recipe.name)
        if not fresh and is_good(read_result(path), recipe):
            on_kept(recipe)
            continue
        try:
            result = carry_out(
                recipe,
                place,
                on_step=partial(on_step, recipe),
                on_start=partial(on_start, recipe),
            )
        except (DataError, MeasureError, RunError, StepError) as error:
            troubles.append(f"{recipe.name}: {error}")
            continue
        write_result(path, result)
    return troubles


def is_good(result: Result | None, recipe: Recipe) -> bool:
    """Say whether a result is of this very recipe and source."""
    return (
        result is not None and result.recipe_sha256 == recipe_digest(recipe) and result.source_sha256 == source_digest()
    )


def judge_all(place: Place) -> list[Judged]:
    """Judge every result there is, in the order of the recipes.

    Raises:
        ResultError: a result cannot be read.
    """
    results = ((recipe, read_result(place.result(recipe.name))) for recipe in RECIPES.values())
    return [judge_result(recipe, result) for recipe, result in results if result is not None]


def write_report(path: Path, judged: Sequence[Judged]) -> bool:
    """Write the page, and say whether no worked example is missed.

    Raises:
        ResultError: it cannot be written.
    """
    worked = work_out()
    write_file(path, write_page(judged, worked).encode())
    return all(judge(figure, worked).verdict != "missed" for figure in EXAMPLES)
