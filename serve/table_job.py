"""Predict the rows of a table file into another: every column is kept, and what the model says stands beside it."""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serve.announce import beyond_certified, require_certified
from serve.answer import Answer, ModelFaultError
from serve.batch_output import OutputError, check_output, open_writer, put
from serve.batch_source import SourceError
from serve.batcher import JOB_ROWS
from serve.bundle import BundleError, Manifest, Precision
from serve.classifier import Classifier
from serve.devices import Choice
from serve.table import TableError, check_columns, encode_columns
from serve.table_file import PIECE_ROWS, read_pieces
from serve.verdict import Verdict, read_verdicts, tensors_sentence

SAY_EVERY_S = 10.0
_IN_FLIGHT = 2
_TAKEN = "predicted_"  # before the name of a prediction that the table itself has a column for


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """What came of a batch prediction of a table.

    Attributes:
        out: The table written.
        rows: Rows of it.
        errors: Rows that could not be predicted.
        labels: Rows by label; empty for a regression.
        duration_s: From the first row read to the written table.
        rows_per_s: Rows per second.
        bundle_sha256: Digest of the bundle.
        provider: What ran the graph.
        precision: Precision of the graph.
    """

    out: str
    rows: int
    errors: int
    labels: dict[str, int]
    duration_s: float
    rows_per_s: float
    bundle_sha256: str
    provider: str
    precision: str


def predict_table(
    bundle: Path,
    source: Path,
    out: Path,
    *,
    provider: Choice,
    batch_size: int | None,
    say: Callable[[str], None],
    allow_failed: bool = False,
    precision: Precision = "float32",
    public_key: Path | None = None,
) -> TableReport:
    """Predict a .csv or .parquet file, some thousand rows at a time; the output is written whole or not at all.

    Raises:
        BundleError: the bundle cannot be used, takes no tables, does not reproduce its golden outputs here, or has a
            certificate that says parity failed, unless `allow_failed`; or the key's owner did not sign it.
        ProviderError, SigningError: the provider, or the public key, is not usable here.
        SourceError: the source is no table with the model's columns.
        OutputError: the table cannot be written, or the batch size is out of range.
    """
    if batch_size is not None and batch_size < 1:
        raise OutputError(f"--batch-size is {batch_size}, but must be at least 1")
    check_output(out)
    rows = (_IN_FLIGHT + 1) * PIECE_ROWS
    with Classifier.open(
        bundle,
        provider=provider,
        precision=precision,
        max_batch=batch_size,
        usual_batch=JOB_ROWS,
        max_queue_rows=rows,
        public_key=public_key,
    ) as classifier:
        manifest = classifier.manifest
        if not manifest.features:
            raise BundleError(f"bundle {bundle} takes no tables, but images or tensors; give it those")
        if manifest.task == "tensors":
            raise BundleError(f"bundle {bundle} cannot fill a table: {tensors_sentence(manifest)}")
        if classifier.reason is not None:
            raise BundleError(classifier.reason)
        if not allow_failed:
            require_certified(classifier.bundle, precision)
        beyond = beyond_certified(classifier, option="--batch-size")
        if beyond is not None:
            say(beyond)
        started = time.perf_counter()
        schema, pieces = read_pieces(source)
        try:
            check_columns(schema.names, manifest.features)
        except TableError as error:
            raise SourceError(f"{source}: {error}") from error
        fields = prediction_fields(manifest, schema.names)
        metadata = {
            **(schema.metadata or {}),
            b"facsimile.bundle": classifier.name,
            b"facsimile.bundle_sha256": manifest.sha256,
            b"facsimile.provider": classifier.provider,
            b"facsimile.precision": classifier.precision,
        }
        found = _predict(classifier, pieces)
        counts = _write(out, pa.schema([*schema, *fields], metadata=metadata), manifest, found, say=say)
        duration_s = time.perf_counter() - started
        return TableReport(
            out=str(out),
            rows=counts["rows"],
            errors=counts["errors"],
            labels={} if manifest.task == "regression" else {name: counts["label", name] for name in _names(manifest)},
            duration_s=duration_s,
            rows_per_s=counts["rows"] / duration_s,
            bundle_sha256=manifest.sha256,
            provider=classifier.provider,
            precision=classifier.precision,
        )


def prediction_fields(manifest: Manifest, taken: Sequence[str]) -> list[pa.Field]:
    """Return the columns that a prediction adds to a table.

    Raises:
        SourceError: the table has a column of such a name, and one of the name that would stand for it, too.
    """
    names = _names(manifest)
    if manifest.task == "regression":
        fields = [(name, pa.float32()) for name in names]
    else:
        fields = [("label", pa.string()), ("probability", pa.float32())]
        fields += [(f"probability_{name}", pa.float32()) for name in names]
    renamed = [(_TAKEN + name if name in taken else name, kind) for name, kind in [*fields, ("error", pa.string())]]
    twice = [name for name, count in Counter([*taken, *(name for name, _ in renamed)]).items() if count > 1]
    if twice:
        raise SourceError(f"the table has a column {twice[0]!r}, but a prediction needs that name; rename the column")
    return [pa.field(name, kind) for name, kind in renamed]


def _names(manifest: Manifest) -> list[str]:
    widths = {spec.name: spec.shape[-1] for spec in manifest.outputs}
    return list(read_verdicts(manifest, {name: np.zeros((1, int(width))) for name, width in widths.items()})[0].values)


Predicted = tuple[pa.RecordBatch, list[Verdict | str]]


def _predict(classifier: Classifier, pieces: Iterator[pa.RecordBatch]) -> Iterator[Predicted]:
    """Predict piece by piece, in order, the next being read while one runs."""
    features = classifier.manifest.features
    running: deque[tuple[pa.RecordBatch, NDArray[np.float32], list[str | None], Future[Answer] | None]] = deque()
    first_row = 1
    for piece in pieces:
        columns = {feature.name: piece.column(feature.name).to_pylist() for feature in features}
        values, errors = encode_columns(columns, features, first_row=first_row)
        first_row += piece.num_rows
        good = values[[error is None for error in errors]]
        running.append((piece, good, errors, _submit(classifier, good)))
        if len(running) == _IN_FLIGHT:
            yield _finish(classifier, *running.popleft())
    while running:
        yield _finish(classifier, *running.popleft())


def _submit(classifier: Classifier, values: NDArray[np.float32]) -> Future[Answer] | None:
    return classifier.submit({classifier.manifest.inputs[0].name: values}) if len(values) else None


def _finish(
    classifier: Classifier,
    piece: pa.RecordBatch,
    good: NDArray[np.float32],
    errors: list[str | None],
    future: Future[Answer] | None,
) -> Predicted:
    verdicts: Iterator[Verdict | str] = iter(())
    if future is not None:
        try:
            verdicts = iter(read_verdicts(classifier.manifest, future.result().outputs))
        except ModelFaultError:
            verdicts = (_alone(classifier, good[row : row + 1]) for row in range(len(good)))
    return piece, [next(verdicts) if error is None else error for error in errors]


def _alone(classifier: Classifier, values: NDArray[np.float32]) -> Verdict | str:
    """Run one row of a piece that failed, so that the others do not fail with it."""
    try:
        answer = classifier.submit({classifier.manifest.inputs[0].name: values}).result()
    except ModelFaultError as error:
        return str(error)
    return read_verdicts(classifier.manifest, answer.outputs)[0]


def _write(
    out: Path, schema: pa.Schema, manifest: Manifest, found: Iterator[Predicted], *, say: Callable[[str], None]
) -> Counter[Any]:
    """Write the output under another name, and give it its own once it is complete; count rows, errors and labels."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    counts: Counter[Any] = Counter()
    said = time.perf_counter()
    try:
        with open_writer(temporary, schema, parquet=out.suffix.lower() == ".parquet") as writer:
            for piece, verdicts in found:
                columns = [*piece.columns, *_columns(manifest, verdicts)]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                counts["rows"] += len(verdicts)
                counts["errors"] += sum(isinstance(verdict, str) for verdict in verdicts)
                counts.update(("label", verdict.label) for verdict in verdicts if isinstance(verdict, Verdict))
                if time.perf_counter() - said >= SAY_EVERY_S:
                    said = time.perf_counter()
                    say(f"predicting: {counts['rows']:,} rows, {counts['errors']:,} errors")
        put(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return counts


def _columns(manifest: Manifest, verdicts: list[Verdict | str]) -> list[pa.Array]:
    good = [verdict if isinstance(verdict, Verdict) else None for verdict in verdicts]
    columns = []
    if manifest.task != "regression":
        columns.append(pa.array([verdict and verdict.label for verdict in good], pa.string()))
        columns.append(pa.array([verdict and verdict.probability for verdict in good], pa.float32()))
    columns += [
        pa.array([verdict and verdict.values[name] for verdict in good], pa.float32()) for name in _names(manifest)
    ]
    texts = [verdict if isinstance(verdict, str) else None for verdict in verdicts]
    return [
        *columns,
        pa.array([text and text.encode("utf-8", "backslashreplace").decode() for text in texts], pa.string()),
    ]
