"""``python -m evaluate alarms``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from evaluate.commands.long_work import progress_on
from evaluate.commands.options import ALL, chosen
from evaluate.commands.written import write_json
from export.command import Format
from train.data_root import default_data_root

if TYPE_CHECKING:
    from evaluate.alarms.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Measure false alarms: train recipes with several seeds, export in every format, and judge what is right.

    Nothing is downloaded: a recipe whose data is not there is left out, and named. Stopped at any time, it goes on
    where it was; several at once may share --out, if each has recipes of its own.

    Exit code 0: every float32 graph passes. 1: one does not. 2: trouble.
    """

    recipes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="")] = ALL
    """Names from `python -m train list`; all of them unless given."""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """How many seeds, from 0 on."""
    formats: tuple[Format, ...] = ("onnx", "torchscript", "exported-program", "onnx-fp16", "onnx-int8", "triton")
    """What to export."""
    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie; $DATA_ROOT where that is set."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("alarms")
    """Where a result for each recipe and seed stands; runs and bundles are removed once they are judged."""
    page: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the Markdown page of all results in --out here. docs/alarms.md is made that way."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write all results as JSON to this file; - is stdout, instead of the sentence."""
    again: bool = False
    """Examine again what is there already."""


def run_alarms(command: Alarms) -> int:
    """Examine recipes, print a line of each, and write what was asked for."""
    from evaluate.alarms.page import headline, write_page
    from evaluate.alarms.result import AlarmsError, current_settings
    from evaluate.alarms.run import examine_all
    from evaluate.tables import stderr_console
    from train.commands.reproduce import choose_recipes
    from train.recipes.registry import RECIPES

    recipes = chosen("--recipes", command.recipes, "digits")
    if command.seeds < 1:
        raise AlarmsError(f"--seeds is {command.seeds}, but at least 1 is needed to train anything")
    if "onnx" not in command.formats:
        raise AlarmsError(
            f"--formats is {' '.join(command.formats)}, but onnx is what the others are made from; add it"
        )
    settings = current_settings(command.formats)
    console = stderr_console()
    with progress_on(console) as progress:
        bar = progress.add_task("", total=None)
        name = ""

        def started(unit: str, index: int, of: int) -> None:
            nonlocal name
            name = unit
            progress.update(bar, description=unit, completed=index, total=of)

        def came(result: "Result", kept: bool) -> None:
            console.print(_line(result, kept=kept), soft_wrap=True, markup=False, highlight=False)

        found = examine_all(
            choose_recipes(recipes or tuple(RECIPES)),
            command.seeds,
            command.out,
            data_root=command.data_root,
            settings=settings,
            again=command.again,
            on_start=started,
            on_step=lambda step: progress.update(bar, description=f"{name}: {step}"),
            on_result=came,
        )
    if command.json is not None:
        write_json({"settings": settings, "missing": found.missing, "results": found.results}, command.json)
    if command.page is not None:
        write_page(command.page, found.results, settings=settings, missing=found.missing)
    if str(command.json) != "-":
        print(headline(found.results))
        for recipe, why in found.missing.items():
            print(f"left out: {recipe}, {why}")
    return 0 if found.results and all(result.passed for result in found.results) else 1


def _line(result: "Result", *, kept: bool) -> str:
    said = ", ".join(
        f"{graph.format} {graph.verdict}" + ("" if graph.ratio is None else f" {graph.ratio:.2f}")
        for graph in result.graphs
    )
    times = f"train {result.train_s:.1f} s, export {result.export_s:.1f} s, parity {result.parity_s:.1f} s"
    return f"{result.name:<32} {said or f'failed: {result.failure}'}; {'kept' if kept else times}"
