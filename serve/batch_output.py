"""The file that results go into: where it may be, how it is written, and that it appears whole or not at all."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

SUFFIXES = (".parquet", ".csv")


class OutputError(ValueError):
    """A place where results cannot be written."""


def check_output(out: Path) -> None:
    """Check that results can be written there, before any work.

    Raises:
        OutputError: the suffix is unknown, a folder has that name, or its folder is missing or not writable.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise OutputError(f"--out is {out}, but must end in .parquet or .csv; give it one of them")
    if out.is_dir():
        raise OutputError(f"--out is {out}, but that is a folder; give a file name in it")
    if not out.parent.is_dir():
        raise OutputError(f"--out is {out}, but the folder {out.parent} does not exist; create it")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OutputError(f"--out is {out}, but the folder {out.parent} is not writable; choose another")


def open_writer(path: Path, schema: pa.Schema, *, parquet: bool) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Open a table for writing, as Parquet or as CSV; to be used as a context."""
    if parquet:
        return pa.parquet.ParquetWriter(path, schema, compression="zstd")
    return pa.csv.CSVWriter(path, schema, write_options=pa.csv.WriteOptions(quoting_style="needed"))


def put(temporary: Path, target: Path) -> None:
    """Give a written file its name, after its content is on the disk: no power cut leaves the name without it."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(target)
