"""Rows as an HTTP body carries them: an object of columns, a list of such objects, or CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve.answer import TooLargeError
from serve.bundle import Feature
from serve.table import TableError, check_columns, encode_columns, encode_rows, refuse_errors

MIN_BYTES = 1 << 20
BYTES_PER_VALUE = 1024


def decode_table(
    body: bytes, content_type: str, features: Sequence[Feature], *, max_rows: int
) -> tuple[NDArray[np.float32], bool]:
    """Return a body's rows as the model's input, and whether the body was one single row, not a list.

    Raises:
        TableError: the body is no table of the model's columns; names the row and the column.
        TooLargeError: there are more bytes, or more rows, than are taken at once.
    """
    limit = max(MIN_BYTES, BYTES_PER_VALUE * max_rows * len(features))  # so that rows are bounded before they are read
    if len(body) > limit:
        raise TooLargeError(f"the table has {len(body):,} bytes, but at most {limit:,} are taken at once; split it")
    if content_type.lower().startswith("text/csv"):
        return _from_csv(body, features, max_rows=max_rows), False
    try:
        rows: dict[str, Any] | list[dict[str, Any]] = msgspec.json.decode(
            body, type=dict[str, Any] | list[dict[str, Any]]
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TableError(
            f'the body is no table ({error}), but {{"{features[0].name}": …}}, a list of such objects, or CSV with '
            "Content-Type text/csv was expected"
        ) from error
    single = isinstance(rows, dict)
    listed: list[Mapping[str, Any]] = [rows] if isinstance(rows, dict) else list(rows)
    _check_rows(len(listed), max_rows)
    return encode_rows(listed, features), single


def _from_csv(body: bytes, features: Sequence[Feature], *, max_rows: int) -> NDArray[np.float32]:
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"the body is no CSV in UTF-8 ({error}); send it again") from error
    if len(lines) < 2:
        raise TableError(f"the CSV has {len(lines)} lines, but a heading and at least one row were expected")
    names, *rows = lines
    check_columns(names, features)
    _check_rows(len(rows), max_rows)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise TableError(f"row {number} has {len(row)} cells, but the heading has {len(names)}; make them the same")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    values, errors = encode_columns(columns, features)
    refuse_errors(errors)
    return values


def _check_rows(rows: int, max_rows: int) -> None:
    if rows > max_rows:
        raise TooLargeError(f"the table has {rows:,} rows, but at most {max_rows:,} are taken at once; split it")
