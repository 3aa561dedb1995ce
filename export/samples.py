"""Real inputs that the user gives along: a folder of images, a table, or arrays by input name."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from export.golden_inputs import CALIBRATION_ROWS, HELD_OUT_ROWS
from export.npz_file import check_array, check_names, check_same_rows, read_npz
from export.own_inputs import OwnInputs
from export.true_values import true_values
from serve.batch_source import SourceError, list_files
from serve.bundle import Feature
from serve.table import TableError, check_columns, encode_columns, refuse_errors
from serve.table_file import read_pieces
from train.dataset import DataError
from train.image_folder import read_image
from train.wording import some_names

MAX_ROWS = HELD_OUT_ROWS + CALIBRATION_ROWS
LABEL = "label"  # the column, or array, that holds the true class
_SEED = 20_240_613


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Rows that the network was not trained on.

    Attributes:
        inputs: By input name, ``(rows, …)``, as the graph takes them.
        class_index: True class of each row, -1 where it is not known, ``(rows,)``.
        name: What to call them: the bare name of the folder or file.
        values: True values of a regression, ``(rows, targets)``; empty where they were not asked for.
        files: Where each row was read from, if that is a file of its own.
    """

    inputs: Mapping[str, NDArray[Any]]
    class_index: NDArray[np.int64]
    name: str
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    files: tuple[Path, ...] = ()

    @property
    def sha256(self) -> str:
        """Digest of the rows and their classes."""
        digest = hashlib.sha256()
        for name, values in sorted({**self.inputs, LABEL: self.class_index}.items()):
            digest.update(f"{name} {values.dtype} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


def read_samples(
    path: Path,
    inputs: OwnInputs,
    labels: tuple[str, ...],
    *,
    targets: tuple[str, ...] = (),
    most: int | None = MAX_ROWS,
) -> Samples:
    """Read samples: at most so many, always the same ones; or all, in their order.

    Args:
        path: A folder of images, a table, or an .npz with an array per input.
        inputs: What the network takes.
        labels: Of the classes; true ones are read where they stand there.
        targets: Of a regression whose true values are wanted: a column, or array, of that name for each.
        most: How many rows, at most; None for all.

    Raises:
        ExportError: there are none, or they are not what the network takes, or have no such values.
    """
    if not path.exists():
        raise ExportError(f"--samples {path} does not exist, but a folder of images, a table or an .npz was expected")
    kind = "images" if inputs.preprocessing else "a table" if inputs.features else "tensors"
    if path.suffix == ".npz" and path.is_file():
        return _arrays(path, inputs, labels, targets, most)
    if inputs.preprocessing is not None and path.is_dir():
        if targets:
            raise ExportError(
                f"--samples {path} has no true values, but a regression is measured against those; give .npz"
            )
        return _images(path, inputs, labels, most)
    if inputs.features and path.suffix.lower() in {".csv", ".parquet"}:
        return _table(path, inputs, labels, targets, most)
    other = {"images": "a folder of images, or ", "a table": "a .csv or .parquet file, or ", "tensors": ""}[kind]
    raise ExportError(f"--samples is {path}, but the network takes {kind}; give {other}an .npz with an array per input")


def _images(folder: Path, inputs: OwnInputs, labels: tuple[str, ...], most: int | None) -> Samples:
    if inputs.preprocessing is None:
        raise ValueError("images need a preprocessing")
    try:
        files = [path for path in list_files(str(folder)) if path.is_file()]
    except SourceError:
        files = []
    if not files:
        raise ExportError(
            f"--samples {folder} holds no images, but at least one was expected, in it or its sub-folders"
        )
    chosen = [files[index] for index in _choose(len(files), most)]
    images = []
    for path in chosen:
        try:
            images.append(read_image(path, inputs.preprocessing)[0])
        except DataError as error:
            raise ExportError(f"--samples: {error}") from error
    names = [path.parent.name if path.parent != folder else None for path in chosen]
    if labels and any(names) and not set(names) & set(labels):
        raise ExportError(
            f"--samples {folder} has a sub-folder {next(filter(None, names))}, but the classes are "
            f"{some_names(labels)}; name the sub-folders like them, or put the images directly in the folder"
        )
    index = [labels.index(name) if name in labels else -1 for name in names]
    return Samples(
        inputs={inputs.specs[0].name: np.stack(images)},
        class_index=np.asarray(index, np.int64),
        name=folder.name,
        files=tuple(chosen),
    )


def _table(
    path: Path, inputs: OwnInputs, labels: tuple[str, ...], targets: tuple[str, ...], most: int | None
) -> Samples:
    columns, names = _columns(path, [*(feature.name for feature in inputs.features), LABEL, *targets])
    try:
        check_columns(names, inputs.features)
        values, errors = encode_columns(columns, inputs.features)
        refuse_errors(errors)
    except TableError as error:
        raise ExportError(f"--samples {path}: {error}") from error
    if not len(values):
        raise ExportError(f"--samples {path} has no rows, but at least one was expected")
    _check_finite(path, inputs.specs[0].name, values, inputs.features)
    truth = true_values(path, columns, targets, rows=len(values), found=names)
    classes = _classes(columns.get(LABEL), len(values), labels, path)
    return _chosen({inputs.specs[0].name: values}, classes, truth, path.stem, most)


def _arrays(
    path: Path, inputs: OwnInputs, labels: tuple[str, ...], targets: tuple[str, ...], most: int | None
) -> Samples:
    arrays, names = read_npz(path, expected={*(spec.name for spec in inputs.specs), LABEL, *targets})
    found = {}
    for spec in inputs.specs:
        check_names(path, spec.name, names)
        check_array(path, spec, arrays[spec.name])
        _check_finite(path, spec.name, arrays[spec.name], inputs.features)
        found[spec.name] = arrays[spec.name]
    check_same_rows(path, found)
    given = arrays[LABEL].tolist() if LABEL in arrays else None
    count = len(next(iter(found.values())))
    lists = {name: values.tolist() for name, values in arrays.items() if name in targets and values.ndim == 1}
    truth = true_values(path, lists, targets, rows=count, found=list(lists))
    return _chosen(found, _classes(given, count, labels, path), truth, path.stem, most)


def _check_finite(path: Path, name: str, values: NDArray[Any], features: tuple[Feature, ...]) -> None:
    """Check that there are finite numbers alone; NaN, too, where a column of a table may lack a value."""
    if not np.issubdtype(values.dtype, np.floating):
        return
    wrong = ~np.isfinite(values)
    if features:
        wrong &= ~(np.isnan(values) & np.array([feature.optional for feature in features]))
    if wrong.any():
        row, *place = (int(index) for index in np.argwhere(wrong)[0])
        where = f"column {features[place[0]].name!r} of {name}" if features else name
        raise ExportError(
            f"--samples {path} has {values[row, *place]} in row {row + 1} of {where}, but finite numbers were "
            "expected; mend that row or take it away"
        )


def _columns(path: Path, names: Sequence[str]) -> tuple[dict[str, list[object]], list[str]]:
    """Return those columns of a table that are there, and the names of all."""
    try:
        schema, pieces = read_pieces(path)
        columns: dict[str, list[object]] = {name: [] for name in names if name in schema.names}
        for piece in pieces:
            for name, values in columns.items():
                values.extend(piece.column(schema.names.index(name)).to_pylist())
    except SourceError as error:
        raise ExportError(f"--samples {path}: {error}") from error
    return columns, list(schema.names)


def _classes(given: Sequence[object] | None, rows: int, labels: tuple[str, ...], path: Path) -> NDArray[np.int64]:
    """Return class indices of true classes that stand as names or as indices."""
    if given is None or not labels:
        return np.full(rows, -1, dtype=np.int64)
    if len(given) != rows:
        raise ExportError(f"--samples {path} has {len(given)} true classes, but {rows} rows; give one for each")
    known = {**{str(index): index for index in range(len(labels))}, **{name: i for i, name in enumerate(labels)}}
    for row, value in enumerate(given, start=1):
        if str(value) not in known:
            raise ExportError(
                f"--samples {path} has {LABEL} {value!r} in row {row}, but the classes are {some_names(labels)}; give "
                f"one of those names there, or its index from 0 to {len(labels) - 1}"
            )
    return np.asarray([known[str(value)] for value in given], dtype=np.int64)


def _chosen(
    inputs: Mapping[str, NDArray[Any]],
    class_index: NDArray[np.int64],
    values: NDArray[np.float64],
    name: str,
    most: int | None,
) -> Samples:
    rows = _choose(len(class_index), most)
    return Samples(
        inputs={key: np.ascontiguousarray(array[rows]) for key, array in inputs.items()},
        class_index=class_index[rows],
        name=name,
        values=values[rows],
    )


def _choose(rows: int, most: int | None) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(_SEED).permutation(rows)[:most])
