"""A table's columns to a model's `features`: numbers as they are, words as the index of their category, gaps as NaN."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serve.answer import RequestError
from serve.bundle import Feature

MISSING_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL"})
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_SHOWN_CATEGORIES = 12


class TableError(RequestError):
    """A table that does not say what the model takes; HTTP 400."""


class _CellError(ValueError):
    """What is wrong with one cell: what it holds, and what was expected."""


def check_columns(names: Sequence[str], features: Sequence[Feature]) -> None:
    """Check that a table has a column for each feature, once; others may stand beside them.

    Raises:
        TableError: one is missing, or a name stands twice.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TableError(f"the table has two columns {twice[0]!r}, but each name may stand once; rename one")
    absent = [feature.name for feature in features if feature.name not in names]
    if absent:
        raise TableError(
            f"the table has no column {absent[0]!r}, but {_listed(names)}; the model takes "
            f"{_listed([feature.name for feature in features])}"
        )


def encode_columns(
    columns: Mapping[str, Sequence[object]], features: Sequence[Feature], *, first_row: int = 1
) -> tuple[NDArray[np.float32], list[str | None]]:
    """Turn columns into the model's input, row by row: a bad row is named, and the others are not touched by it.

    Args:
        columns: Values by column name, all of one length; names that are no feature are passed over.
        features: The model's, in its order.
        first_row: Number of the first row in messages; the first row below a heading is 1.

    Returns:
        The input, ``(rows, features)``, and per row the sentence that says why it cannot be predicted, or None; such a
        row holds NaN where it is wrong.
    """
    rows = len(columns[features[0].name])
    values = np.full((rows, len(features)), np.nan, dtype=np.float32)
    errors: list[str | None] = [None] * rows
    for position, feature in enumerate(features):
        known: dict[str, float] = {}  # the same words come again and again
        for row, cell in enumerate(columns[feature.name]):
            if isinstance(cell, str) and cell in known:
                values[row, position] = known[cell]
                continue
            try:
                number = _encode(cell, feature)
            except _CellError as error:
                errors[row] = errors[row] or f"row {first_row + row}, column {feature.name!r} {error}"
                continue
            values[row, position] = number
            if isinstance(cell, str) and feature.categories:
                known[cell] = number
    return values, errors


def encode_rows(rows: Sequence[Mapping[str, object]], features: Sequence[Feature]) -> NDArray[np.float32]:
    """Turn rows into the model's input, ``(rows, features)``; what is optional may be left out.

    Raises:
        TableError: there are no rows, a row lacks a column or has one that is no feature, or a cell is not what the
            model takes.
    """
    if not rows:
        raise TableError("the table has no rows, but at least 1 was expected")
    by_name = {feature.name: feature for feature in features}
    for number, row in enumerate(rows, start=1):
        unknown = [name for name in row if name not in by_name]
        if unknown:
            raise TableError(
                f"row {number} has a column {unknown[0]!r}, but the model takes {_listed(list(by_name))}; leave it out"
            )
        absent = [name for name, feature in by_name.items() if name not in row and not feature.optional]
        if absent:
            raise TableError(f"row {number} has no column {absent[0]!r}, but the model needs it; add it")
    values, errors = encode_columns({name: [row.get(name) for row in rows] for name in by_name}, features)
    refuse_errors(errors)
    return values


def refuse_errors(errors: Sequence[str | None]) -> None:
    """Refuse a table of which a row cannot be predicted.

    Raises:
        TableError: with the first such row's sentence.
    """
    found = next((error for error in errors if error is not None), None)
    if found is not None:
        raise TableError(found)


def decode_row(values: NDArray[np.float32], features: Sequence[Feature]) -> dict[str, float | str | None]:
    """Return one row of the model's input, ``(features,)``, in a table's words; None where a value is missing."""
    return {feature.name: _decode(value, feature) for feature, value in zip(features, values.tolist(), strict=True)}


def _encode(cell: object, feature: Feature) -> float:
    if isinstance(cell, str):
        cell = cell.strip()
    if feature.categories:
        for word in _words(cell):
            if word in feature.categories:
                return float(feature.categories.index(word))
    if _is_missing(cell):
        if feature.optional:
            return math.nan
        raise _CellError(f"is empty, but {_expected(feature)} was expected")
    if feature.categories:
        raise _CellError(f"has {_shown(cell)}, but {_expected(feature)} was expected")
    return _number(cell, feature)


def _number(cell: object, feature: Feature) -> float:
    try:
        if isinstance(cell, (bool, np.bool_)) or (isinstance(cell, str) and ("_" in cell or not cell.isascii())):
            raise ValueError
        value = float(cell)  # type: ignore[arg-type]
    except OverflowError:
        value = math.inf
    except (TypeError, ValueError):
        raise _CellError(f"has {_shown(cell)}, but {_expected(feature)} was expected") from None
    if not abs(value) <= _FLOAT32_MAX:
        raise _CellError(f"has {_shown(cell)}, but a number within {_FLOAT32_MAX:.2g} of 0 was expected")
    return value


def _words(cell: object) -> list[str]:
    """Return how a category may be written: a whole number stands for its digits, also where it came as 3.0."""
    if isinstance(cell, bool):
        return [str(cell), str(cell).lower()]
    if isinstance(cell, float) and cell.is_integer():
        return [str(cell), str(int(cell))]
    return [str(cell)] if isinstance(cell, (str, int, float)) else []


def _is_missing(cell: object) -> bool:
    if isinstance(cell, str):
        return cell in MISSING_WORDS
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _decode(value: float, feature: Feature) -> float | str | None:
    if math.isnan(value):
        return None
    if not feature.categories:
        return value
    index = int(value)
    return feature.categories[index] if index == value and 0 <= index < len(feature.categories) else None


def _expected(feature: Feature) -> str:
    if not feature.categories:
        return "a number"
    return f"one of {_listed(feature.categories)}"


def _shown(cell: object) -> str:
    text = repr(cell)
    return text if len(text) <= 60 else text[:59] + "…"


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _SHOWN_CATEGORIES else ""
    return (", ".join(names[:_SHOWN_CATEGORIES]) or "none") + more
