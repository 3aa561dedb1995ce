"""``python -m evaluate report``."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from evaluate.commands.shared_options import Key, Provider, Trust
from evaluate.commands.targets import TargetError, check_file
from train.data_root import default_data_root

_HOLDS = {"pass": "holds", "fail": "fails", "unproven": "is unproven"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Write one HTML file for the person who decides: what bundles are, whether they are what was trained, how right.

    Everything is inside the file, pictures too; nothing is loaded from anywhere. It has the certificate (the bundle's
    own, or else a quick one), accuracy, confusions, calibration, samples and mistakes to look at, the error along the
    graph, times and sizes; and several bundles beside each other.

    Exit code 0: parity of every bundle holds. 1: that of one fails, or is unproven; the report is written all the
    same. 2: trouble.
    """

    bundles: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="BUNDLE [BUNDLE ...]", help_behavior_hint="(required)"),
    ]
    """Directories that `python -m export` wrote. The others are compared with the first."""
    html: Annotated[Path, tyro.conf.arg(metavar="FILE.html")]
    """Where the report is written, whole or not at all."""
    samples: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Samples whose truth is known, instead of the recipe's test split; as `python -m evaluate accuracy` takes them."""
    data_root: Path = field(default_factory=default_data_root)
    """Where the recipe's data is (or DATA_ROOT); without it the bundle's own held-out samples are used."""
    provider: Provider = "auto"
    seed: int = 0
    """Decides which samples are shown, and the resamples of the intervals."""
    bench: bool = True
    """Measure times, too: a second or two."""
    factory: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            metavar="MODULE:CALLABLE",
            help="What builds the network, where it is your own: package.module:callable or path/to/file.py:callable. "
            "It is run, for the bundles that record its name.",
        ),
    ] = ()
    trust: Trust = False
    require_signature: Key = None
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write what was found as JSON to this file; - is stdout."""


def run_report(command: Report) -> int:
    """Examine the bundles and write the page.

    Raises:
        TargetError: no file can be written where one is asked for.
    """
    _check(command)
    from evaluate.trust import read_trusted

    bundles = [
        read_trusted(path, trust=command.trust, public_key=command.require_signature) for path in command.bundles
    ]

    from rich.status import Status

    from evaluate.tables import stderr_console

    with Status("loading torch", console=stderr_console()) as status:
        from evaluate.report.builders import builders_of
        from evaluate.report.examine import Request, examine
        from evaluate.report.page import page_of
        from evaluate.report.together import but_of, document_of, state_of
        from train.whole_file import write_whole

        status.update("building the networks")
        builders = builders_of(bundles, command.factory)
        request = Request(
            data_root=command.data_root,
            samples=command.samples,
            provider=command.provider,
            seed=command.seed,
            bench=command.bench,
            several=len(bundles) > 1,
        )

        def told(name: str, doing: str) -> None:
            status.update(f"{name}: {doing}")

        found = tuple(
            examine(bundle, replace(request, factory=builder), on_step=partial(told, bundle.manifest.name))
            for bundle, builder in zip(bundles, builders, strict=True)
        )
        status.update("writing the page")
        page = page_of(found).encode("utf-8", "replace")
        write_whole(command.html, page)
    states = [state_of(one) for one in found]
    if command.json is not None:
        from evaluate.commands.written import write_json

        write_json(document_of(found), command.json)
    if command.json != Path("-"):
        for one, state in zip(found, states, strict=True):
            print(", ".join([f"{one.manifest.name}: parity {_HOLDS[state]}", *but_of(one)]))
        print(f"{command.html}, {len(page) / 2**20:.1f} MiB")
    return 0 if set(states) == {"pass"} else 1


def _check(command: Report) -> None:
    """Refuse before anything is measured what could not be written after it."""
    if command.html.suffix.lower() not in {".html", ".htm"}:
        raise TargetError(
            f"--html is {command.html}, but the report is HTML; give the name of a file that ends in .html"
        )
    check_file("--html", command.html)
    check_file("--json", command.json)
    if not command.bundles:
        raise TargetError("no BUNDLE was given, but at least one directory that `python -m export` wrote is expected")
    if command.seed < 0:
        raise TargetError(f"--seed is {command.seed}, but seeds are 0 or greater; leave it out")
