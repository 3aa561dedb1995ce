"""`python -m train reproduce [ID ...]`: the figures of the source notes beside ours."""

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from train.commands.trouble import trouble
from train.data_root import default_data_root
from train.extra import explain_missing
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import RECIPES, find_recipe
from train.reproduction.result import ResultError
from train.threads import limit_spinning

if TYPE_CHECKING:
    from rich.console import Console

SLOW = frozenset({"fashion-softmax-1000"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproduceCommand:
    """Train, export, certify, serve and batch-predict recipes, and write the notes' printed figures beside ours.

    What was done before is kept, as long as the recipe and the source are the same. Exit 0: every recipe went all the
    way and every figure is within what is stated for it; 1: one is not; 2: trouble, in one sentence.
    """

    ids: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ID ...", help_behavior_hint="")] = ()
    """Names from `python -m train list`; unless given all but fashion-softmax-1000, which takes long."""

    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie or are downloaded to; $DATA_ROOT where that is set."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("reproduction")
    """Where runs, bundles, tables and results go."""

    report: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("docs/reproduction.md")
    """The page to write."""

    fresh: bool = False
    """Do everything anew."""


def reproduce(command: ReproduceCommand) -> int:
    """Reproduce; return the exit code."""
    limit_spinning()
    from rich.console import Console

    from train.interrupt import stop_on_signal

    with stop_on_signal() as stop:
        try:
            return _reproduce(command, choose_recipes(command.ids), Console(stderr=True))
        except (RecipeError, ResultError) as error:
            return trouble(error)
        except ModuleNotFoundError as error:
            return trouble(explain_missing(error))
        except KeyboardInterrupt:
            print(f"stopped; what is done is kept in {command.out}, and is not done again", file=sys.stderr)
            return stop.exit_code
        except Exception:  # noqa: BLE001 - Python would exit 1, which here says that a figure is not as stated
            traceback.print_exc()
            return 2


def choose_recipes(names: Sequence[str]) -> tuple[Recipe, ...]:
    """Return the recipes of these names, each once; without names all but the slow ones.

    Raises:
        RecipeError: there is no such recipe.
    """
    return tuple(find_recipe(name) for name in dict.fromkeys(names or (name for name in RECIPES if name not in SLOW)))


def _reproduce(command: ReproduceCommand, recipes: tuple[Recipe, ...], console: "Console") -> int:
    from train.reproduction.pipeline import Place
    from train.reproduction.progress import ReproductionProgress
    from train.reproduction.reproduce import judge_all, reproduce_recipes, write_report

    place = Place(out=command.out, data_root=command.data_root)
    with ReproductionProgress(console) as progress:
        troubles = reproduce_recipes(
            recipes,
            place,
            fresh=command.fresh,
            on_step=progress.done,
            on_start=progress.start,
            on_kept=progress.kept,
        )
    judged = judge_all(place)
    examples_hold = write_report(command.report, judged)
    asked = {recipe.name for recipe in recipes}
    failed = [one.recipe.name for one in judged if one.recipe.name in asked and not one.passed]
    print(f"{len(judged)} recipes in {command.report}")
    for sentence in troubles:
        trouble(sentence)
    if failed or not examples_hold:
        print(f"not as stated: {', '.join(failed) or 'a worked example'}; see {command.report}", file=sys.stderr)
    return 2 if troubles else 1 if failed or not examples_hold else 0
