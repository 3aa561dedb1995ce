"""True values of a regression, from columns that may hold anything."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from serve.bundle import Feature
from serve.table import TableError, encode_columns, refuse_errors
from train.wording import some_names


def true_values(
    path: Path, columns: Mapping[str, Sequence[Any]], targets: tuple[str, ...], *, rows: int, found: Sequence[str]
) -> NDArray[np.float64]:
    """Return the true values of a regression, ``(rows, targets)``.

    Args:
        path: Where the columns are from.
        columns: By name; more than the targets may be there.
        targets: Their names.
        rows: How many samples there are.
        found: What to say is there where a target is not.

    Raises:
        ExportError: one is not there, or is not a finite number for each sample.
    """
    if not targets:
        return np.empty((rows, 0))
    absent = [name for name in targets if name not in columns]
    if absent:
        raise ExportError(
            f"--samples {path} has no {absent[0]}, but {some_names(found) or 'nothing'}; a regression is measured "
            "against true values, so give a column, or an array of one dimension, named after each target"
        )
    for name in targets:
        if len(columns[name]) != rows:
            raise ExportError(
                f"--samples {path} has {len(columns[name])} true values of {name}, but {rows} rows; give one for each"
            )
    try:
        _, errors = encode_columns(columns, [Feature(name=name) for name in targets])
        refuse_errors(errors)
    except TableError as error:
        raise ExportError(f"--samples {path}: {error}") from error
    # what networks take is float32; what they are held against need not be rounded
    return np.array([[float(value) for value in columns[name]] for name in targets]).T
