"""`python -m train study NAME`: a measured study of the source notes."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from train.commands.trouble import trouble
from train.data_root import default_data_root
from train.extra import explain_missing
from train.threads import limit_spinning

if TYPE_CHECKING:
    from train.studies.record import Record

# The studies whose plots the page shows.
PAGE_PLOTS = ("initialisation", "polynomial", "dataloader")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCommand:
    """Carry out a measured study of the source notes: a table, a plot, their claim, and whether it holds.

    All of them in full took twelve minutes on two busy cores, the one of reading images half of that; with --quick each
    takes about a second. Exit 0: carried out, whatever the verdict; 2: trouble, in one sentence.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """A study; `list` for what each one asks; `all` for each that has not been carried out yet."""

    data_root: Path = field(default_factory=default_data_root)
    """Where data sets lie, for the studies that read one; $DATA_ROOT where that is set."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder for plot and result; studies/NAME unless given. Of `all`: the one for all folders."""

    quick: bool = False
    """Take fewer rows, seeds and epochs: about a second, to see that it works."""

    fresh: bool = False
    """Of `all`: carry out anew what has been carried out."""

    page: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Of `all`: write a page in Markdown, and its plots into images/ beside it."""


def carry_out_study(command: StudyCommand) -> int:
    """Measure, print the table, write plot and result; return the exit code."""
    from train.studies.record import check_out
    from train.studies.registry import STUDIES, StudyError, check_name

    if command.name == "list":
        width = max(map(len, STUDIES))
        print("\n".join(f"{name:<{width}}  {question}" for name, question in STUDIES.items()))
        return 0
    limit_spinning()
    try:
        if command.name == "all":
            _check_all(command)
            _carry_out_all(command)
        else:
            check_name(command.name)
            _refuse_options_of_all(command)
            folder = command.out or Path("studies") / command.name
            check_out(folder)
            _carry_out_one(command, command.name, folder)
    except (StudyError, OSError) as error:
        return trouble(error)
    except ModuleNotFoundError as error:
        return trouble(explain_missing(error))
    except KeyboardInterrupt:
        print("stopped; what was carried out before is kept", file=sys.stderr)
        return 130
    return 0


def _refuse_options_of_all(command: StudyCommand) -> None:
    from train.studies.registry import StudyError

    given = [name for name, value in (("--fresh", command.fresh), ("--page", command.page is not None)) if value]
    if given:
        raise StudyError(
            f"{given[0]} was given with study {command.name}, but only `all` takes it; leave it out or name `all`"
        )


def _check_all(command: StudyCommand) -> None:
    """Refuse before minutes of work what could not be written after them."""
    from train.studies.record import check_folder, check_out
    from train.studies.registry import STUDIES, StudyError

    out = command.out or Path("studies")
    check_folder(out)
    for name in STUDIES:
        check_out(out / name)
    if command.page is not None:
        if command.page.is_dir():
            raise StudyError(f"{command.page} is a directory, but a file for the page was expected; add a name to it")
        check_folder(command.page.parent)


def _carry_out_all(command: StudyCommand) -> None:
    from train.studies.record import fingerprint, read_record
    from train.studies.registry import STUDIES, StudyError

    out = command.out or Path("studies")
    records = []
    for name in STUDIES:
        record = None if command.fresh else read_record(out / name)
        if record is not None and record.fingerprint == fingerprint(
            name, quick=command.quick, data_root=command.data_root
        ):
            print(f"{name}: carried out before, {out / name}; --fresh does it anew", file=sys.stderr)
        else:
            print(f"{name}: {STUDIES[name]}", file=sys.stderr)
            _carry_out_one(command, name, out / name)
            record = read_record(out / name)
        if record is None:
            raise StudyError(f"{out / name} holds no result, though one was written just now; was it taken away?")
        records.append(record)
    if command.page is not None:
        _write_page(command.page, records)


def _carry_out_one(command: StudyCommand, name: str, folder: Path) -> None:
    import time

    from rich.console import Console

    from train.dataset import DataError
    from train.studies.record import Record, describe_machine, fingerprint, read_load, write_record
    from train.studies.registry import StudyError, carry_out
    from train.studies.result import show_result, write_plot

    start, load = time.perf_counter(), read_load()
    try:
        result = carry_out(name, quick=command.quick, data_root=command.data_root)
    except DataError as error:
        raise StudyError(str(error)) from error
    duration_s = time.perf_counter() - start
    # a file or a pipe has no width of its own: there the whole table fits
    Console(width=None if sys.stdout.isatty() else 150).print(show_result(result))
    sys.stdout.flush()
    plot = write_plot(result, folder)
    record = Record(
        name=name,
        fingerprint=fingerprint(name, quick=command.quick, data_root=command.data_root),
        machine=describe_machine(),
        load=load,
        duration_s=duration_s,
        result=result,
    )
    path = write_record(record, folder)
    print(f"took {duration_s:.3g} s; plot: {plot}; result: {path}", file=sys.stderr)


def _write_page(page: Path, records: "list[Record]") -> None:
    from train.studies.page import draw_page
    from train.studies.result import draw_png

    images = page.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    plots = {}
    for record in records:
        if record.name in PAGE_PLOTS:
            path = images / f"study-{record.name}.png"
            path.write_bytes(draw_png(record.result))
            plots[record.name] = f"images/{path.name}"
    page.write_text(draw_page(records, plots), encoding="utf-8")
    print(f"page: {page}", file=sys.stderr)
