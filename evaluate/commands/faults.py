"""``python -m evaluate faults``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from evaluate.commands.long_work import progress_on
from evaluate.commands.written import write_json

if TYPE_CHECKING:
    from evaluate.faults.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Measure what parity catches: plant faults in correct exports, beside correct variants that must pass.

    Every fault and every variant is judged by the rule, and on the same outputs by the tolerances in common use. Every
    wrong graph is also written into a bundle, as is every right module, and judged through the command line. Stopped at
    any time, it goes on where it was.

    Exit code 0: every fault that changes the function is caught, and no variant objected to. 1: otherwise. 2: trouble.
    """

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[SUBJECT ...]", help_behavior_hint="")
    ] = ()
    """What to plant faults in, such as cnn mlp transformer table digits. All of them unless given, and then also in a
    bundle that was trained and exported by the commands."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("faults")
    """Where a line of each case stands, and a bundle to spoil. Several processes may share it, if each has subjects of
    its own; one more without any then writes the page."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write all cases as JSON to this file; - is stdout, instead of the table."""
    page: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the Markdown page here, and its picture into images/ beside it. docs/faults.md is made that way."""
    quick: bool = False
    """Few networks, one scale, quick input sets, no command line: a minute."""
    again: bool = False
    """Make again what is there already."""


def run_faults(command: Faults) -> int:
    """Measure, print the table, and write what was asked for."""
    from evaluate.faults.page import print_power, write_page
    from evaluate.faults.power import power_of
    from evaluate.faults.run import measure, modules_of
    from evaluate.tables import stderr_console, stdout_console

    modules = modules_of(command.names, quick=command.quick)
    bundle = not command.names and not command.quick
    console = stderr_console()
    with progress_on(console) as progress:
        bar = progress.add_task("", total=len(modules) + bundle, completed=-1)
        made: list[Case] = []

        def came(case: "Case") -> None:
            made.append(case)
            progress.update(bar, description=f"{len(made)} cases, {case.subject}: {case.kind}")

        cases = measure(
            modules,
            command.out,
            quick=command.quick,
            bundle=bundle,
            again=command.again,
            on_module=lambda name: progress.update(bar, advance=1, description=name),
            on_case=came,
        )
    power = power_of(cases)
    if command.json is not None:
        write_json({"passed": power.passed, "cases": cases}, command.json)
    if command.page is not None:
        write_page(command.page, cases, quick=command.quick)
    if str(command.json) != "-":
        print_power(power, stdout_console())
    return 0 if power.passed else 1
