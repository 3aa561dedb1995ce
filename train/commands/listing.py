"""`python -m train list`: the recipes."""

import json
from dataclasses import asdict, dataclass

from train.recipes.registry import RECIPES


@dataclass(frozen=True, slots=True, kw_only=True)
class ListCommand:
    """List the recipes: task, data, parameters, and the test accuracy that the source notes print."""

    json: bool = False
    """Print JSON, for machines."""


def show_list(command: ListCommand) -> int:
    """Print the recipes; exit code 0."""
    print(_recipes_json() if command.json else _recipes_table())
    return 0


def _recipes_json() -> str:
    return json.dumps([asdict(recipe) for recipe in RECIPES.values()], indent=2)


def _recipes_table() -> str:
    rows = [("recipe", "task", "data", "parameters", "notes", "what it is")]
    rows += [
        (
            recipe.name,
            recipe.task,
            recipe.data,
            f"{recipe.parameters:,}",
            "-" if recipe.notes_accuracy is None else f"{recipe.notes_accuracy:.2%}",
            recipe.title,
        )
        for recipe in RECIPES.values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
