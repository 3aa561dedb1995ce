"""What every command does with what it found: a table for people, JSON for machines."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


def report(record: T, print_table: "Callable[[T, Console], None]", json: Path | None) -> None:
    """Print a table, and write JSON where it is asked for: to a file as well, or to stdout instead."""
    from evaluate.tables import stdout_console

    if json != Path("-"):
        print_table(record, stdout_console())
    if json is not None:
        write_json(record, json)


def write_json(record: object, path: Path) -> None:
    """Write JSON into a file, whole or not at all, or to stdout, which ``-`` means."""
    from evaluate.record_file import encode_record, write_record

    if path == Path("-"):
        print(encode_record(record).decode())
    elif path.exists() and not path.is_file():  # a device or a pipe, in whose place no file may come
        path.write_bytes(encode_record(record) + b"\n")
    else:
        write_record(path.resolve(), record)
