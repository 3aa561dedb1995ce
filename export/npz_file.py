"""Reading an .npz that people wrote: what is wrong with it is said in words of its arrays, not of its reader."""

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from serve.bundle import TensorSpec
from train.wording import some_names

_NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"


def read_npz(path: Path, *, expected: Collection[str]) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Read arrays of an .npz; nothing that is pickled in it is loaded.

    Args:
        path: The file.
        expected: Names of the arrays to read, where they are there; others are left alone.

    Returns:
        The arrays, and the names of all that the file holds.

    Raises:
        ExportError: it is no .npz, is damaged, or holds Python objects in one of them.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ExportError(_no_archive(path))
        with np.load(path, allow_pickle=False) as archive:
            names = tuple(archive.files)
            return {name: _array(archive, name, path) for name in names if name in expected}, names
    except ExportError:
        raise
    except Exception as error:  # of damaged bytes, numpy's reader raises whatever its parts do
        raise ExportError(
            f"--samples {path} cannot be read ({error}), but an .npz of arrays was expected; copy or save it again"
        ) from error


def check_array(path: Path, spec: TensorSpec, values: NDArray[Any]) -> None:
    """Check that an array is rows of what an input takes, at least one.

    Raises:
        ExportError: it is of another dtype or shape, or empty.
    """
    shape, row = list(values.shape), list(spec.shape[1:])
    if values.dtype != spec.dtype or shape[1:] != row:
        remedy = (
            f"save pixel values from 0 to 255 as {spec.dtype}"
            if spec.dtype == "uint8" and shape[1:] == row
            else f"save it as {spec.name}.astype('{spec.dtype}')"
            if shape[1:] == row
            else f"save one row as {spec.name}[None]"
            if shape == row
            else "save rows of that shape"
        )
        raise ExportError(
            f"--samples {path} has {spec.name} as {values.dtype} {shape}, but {spec.dtype} "
            f"[{', '.join(str(size) for size in ('rows', *row))}] was expected; {remedy}"
        )
    if not shape[0]:
        raise ExportError(
            f"--samples {path} has no rows of {spec.name}, but at least one was expected; save some rows into it"
        )


def check_same_rows(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Check that all inputs have as many rows as the first.

    Raises:
        ExportError: one has not.
    """
    (first, values), *others = arrays.items()
    for name, other in others:
        if len(other) != len(values):
            raise ExportError(
                f"--samples {path} has {len(values)} rows of {first}, but {len(other)} of {name}; save as many rows "
                "of each input, those of one sample at the same place"
            )


def check_names(path: Path, name: str, names: tuple[str, ...]) -> None:
    """Check that an input has an array.

    Raises:
        ExportError: it has none.
    """
    if name not in names:
        found = f"the arrays {some_names(names)}" if names else "no arrays"
        raise ExportError(
            f"--samples {path} has {found}, but input {name} was expected; name one array after each input"
        )


def _no_archive(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(len(_NPY))
    save = "write it with np.savez(FILE, NAME=array)"
    if start == _NPY:
        return (
            f"--samples {path} holds one array without a name, as np.save writes it, but an .npz of named arrays was "
            f"expected; {save}"
        )
    if start.startswith(_ZIP):
        return f"--samples {path} ends too early for an .npz, so it is damaged or cut short; copy or save it again"
    return f"--samples {path} is no .npz, but one with an array per input was expected; {save}"


def _array(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> NDArray[Any]:
    try:
        values: NDArray[Any] = archive[name]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise ExportError(
            f"--samples {path} holds {name} as Python objects, but plain numbers or texts were expected; save it with "
            "a dtype such as float32, every row of the same shape"
        ) from error
    return values
