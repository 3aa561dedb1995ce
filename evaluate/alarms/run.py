"""All recipes with all seeds, one after the other; what is done and still good is not done again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluate.alarms.examine import examine
from evaluate.alarms.result import AlarmsError, Result, Settings, read_result, unit_name, write_result
from train.data import load_dataset
from train.dataset import MissingDataError
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES
from train.reproduction.result import recipe_digest
from train.revision import source_revision
from train.workplace import NEW, Kind, put_back, workplace

_WORK = Kind(name="alarms", last="bundle", is_whole=lambda _: False)  # nothing of it is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a run found.

    Attributes:
        results: Of all recipes and seeds in the folder that have these settings, in the recipes' order.
        missing: Why a recipe was left out, by its name.
    """

    results: tuple[Result, ...]
    missing: dict[str, str]


def examine_all(
    recipes: Sequence[Recipe],
    seeds: int,
    folder: Path,
    *,
    data_root: Path,
    settings: Settings,
    again: bool = False,
    on_start: Callable[[str, int, int], None] = lambda *_: None,
    on_step: Callable[[str], None] = lambda _: None,
    on_result: Callable[[Result, bool], None] = lambda *_: None,
) -> Found:
    """Train, export and judge recipes.

    Args:
        recipes: Those whose data is not there are left out.
        seeds: How many, from 0 on.
        folder: Where a file for each recipe and seed stands, and stays.
        data_root: Where the data is; nothing is downloaded.
        settings: See `examine`.
        again: Do not keep what is there.
        on_start: Told which one comes, the how many-th, and of how many.
        on_step: Told what is being done.
        on_result: Told each result, and whether it was there already.

    Raises:
        AlarmsError: the folder cannot be written to, or the data of no recipe is there.
        DataError: data is there, but damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AlarmsError(
            f"{folder} cannot be a folder ({error.strerror}), but results stand there; give another --out"
        ) from error
    here, missing = _with_data(recipes, data_root)
    if not here:
        raise AlarmsError(
            f"the data of {', '.join(missing)} is not under {data_root}, so there is nothing to examine; give the "
            "--data-root where it is"
        )
    units = [(recipe, seed) for recipe in here for seed in range(seeds)]
    for recipe, seed in units:
        put_back(folder / unit_name(recipe.name, seed), _WORK)  # there is nothing to put back, but to clear
    for index, (recipe, seed) in enumerate(units):
        name = unit_name(recipe.name, seed)
        on_start(name, index, len(units))
        result = None if again else read_result(folder, name)
        kept = result is not None and is_good(result, recipe, settings)
        if result is None or not kept:
            with workplace(folder / name, _WORK) as place:
                result = examine(recipe, seed, place / NEW, data_root=data_root, settings=settings, on_step=on_step)
            write_result(folder, result)
        on_result(result, kept)
    return Found(results=results_in(folder, settings, seeds), missing=missing)


def is_good(result: Result, recipe: Recipe, settings: Settings) -> bool:
    """Say whether a result still stands: what does not pass does so with this source alone, which may be mended."""
    if result.settings != settings or result.recipe_sha256 != recipe_digest(recipe) or result.failure is not None:
        return False
    return result.passed or (result.source_revision is not None and result.source_revision == source_revision())


def results_in(folder: Path, settings: Settings, seeds: int) -> tuple[Result, ...]:
    """Return the results that a folder holds of these settings and of so many seeds."""
    found = (read_result(folder, unit_name(name, seed)) for name in RECIPES for seed in range(seeds))
    return tuple(
        result
        for result in found
        if result is not None
        and result.settings == settings
        and result.recipe_sha256 == recipe_digest(RECIPES[result.recipe])
    )


def _with_data(recipes: Sequence[Recipe], data_root: Path) -> tuple[list[Recipe], dict[str, str]]:
    here, missing, known = [], {}, dict[str, str | None]()
    for recipe in recipes:
        if recipe.data not in known:
            known[recipe.data] = _why_missing(recipe, data_root)
        why = known[recipe.data]
        if why is None:
            here.append(recipe)
        else:
            missing[recipe.name] = why
    return here, missing


def _why_missing(recipe: Recipe, data_root: Path) -> str | None:
    try:
        load_dataset(recipe, data_root, download=False)
    except MissingDataError:
        return f"{recipe.data} is not there"
    return None
