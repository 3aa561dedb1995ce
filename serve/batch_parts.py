"""The results on disk: finished pieces beside the output, so that work resumes, and one whole file at the end."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import msgspec
import pyarrow as pa
import pyarrow.parquet

from serve.batch_folder import take_folder
from serve.batch_output import OutputError, open_writer, put
from serve.batch_rows import Row
from serve.batch_source import shown

_JOB = "job.json"
_PART = re.compile(r"(\d{12})\.parquet")
_GROUP_ROWS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What decides the results: finished pieces are used again only where all of it is the same."""

    name: str
    bundle_sha256: str
    files_sha256: str
    files: int
    provider: str
    precision: str
    format: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the whole file holds.

    Attributes:
        files: Rows.
        errors: Rows with an error.
        labels: Rows by label.
    """

    files: int = 0
    errors: int = 0
    labels: Mapping[str, int]


def schema_of(labels: Sequence[str], job: Job) -> pa.Schema:
    """Return the columns, with the bundle's digest in the metadata.

    Raises:
        OutputError: two labels are the same, and so would be their columns.
    """
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise OutputError(
            f"label {repeated[0]!r} stands twice in the bundle, but columns need different names; rename it"
        )
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            ("label", pa.string()),
            ("probability", pa.float32()),
            *((f"probability_{label}", pa.float32()) for label in labels),
            ("error", pa.string()),
        ],
        metadata={
            "facsimile.bundle": job.name,
            "facsimile.bundle_sha256": job.bundle_sha256,
            "facsimile.provider": job.provider,
            "facsimile.precision": job.precision,
        },
    )


class Parts:
    """The pieces of one job, in the folder ``OUT.parts`` beside its output, which is locked while it is open.

    Args:
        out: The output.
        schema: Its columns.
        labels: The labels of the probability columns, in order.
    """

    def __init__(self, out: Path, *, schema: pa.Schema, labels: Sequence[str]) -> None:
        self.out = out
        self.folder = out.with_name(out.name + ".parts")
        self.schema = schema
        self.labels = tuple(labels)
        self._lock: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open(self, job: Job) -> tuple[int, bool]:
        """Start the job, or go on with it.

        Returns:
            How many rows are finished, and whether pieces of another job had to be removed.

        Raises:
            OutputError: another job works there, or the folder is there, but holds no job.
        """
        self._lock = take_folder(self.folder, self.out)
        document = msgspec.json.encode(job)
        record = self.folder / _JOB
        unwritten = record.with_suffix(".tmp")  # all that a job leaves that is killed as it starts
        if not record.is_file() and any(path != unwritten for path in self.folder.iterdir()):
            raise OutputError(
                f"{self.folder} is in the way: it holds no unfinished job; move it, or choose another --out"
            )
        same = record.is_file() and record.read_bytes() == document
        replaced = record.is_file() and not same
        if not same:
            self._clear()
            _write_whole(record, document)
        return sum(rows for _, rows in self._finished()), replaced

    def write(self, start: int, files: Sequence[Path], rows: Sequence[Row]) -> None:
        """Keep the rows of some files, of which the first is number `start`."""
        verdicts = [row.verdict for row in rows]
        columns = [
            pa.array([shown(path) for path in files], pa.string()),
            pa.array([verdict and verdict.label for verdict in verdicts], pa.string()),
            pa.array([verdict and verdict.probability for verdict in verdicts], pa.float32()),
            *(
                pa.array([verdict and verdict.values[label] for verdict in verdicts], pa.float32())
                for label in self.labels
            ),
            pa.array([_encodable(row.error) for row in rows], pa.string()),
        ]
        target = self.folder / f"{start:012d}.parquet"
        temporary = target.with_suffix(".tmp")
        pa.parquet.write_table(pa.Table.from_arrays(columns, schema=self.schema), temporary)
        put(temporary, target)

    def merge(self, files: int) -> Written:
        """Write the output from the pieces, whole or not at all, and remove them.

        Raises:
            OutputError: the pieces do not hold that many files, or one is damaged.
        """
        temporary = self.out.with_name(f".{self.out.name}.{os.getpid()}.tmp")
        written = Written(labels=dict.fromkeys(self.labels, 0))
        parquet = self.out.suffix.lower() == ".parquet"
        try:
            with open_writer(temporary, self.schema, parquet=parquet) as writer:
                for table in self._tables():
                    writer.write_table(table)
                    written = _add(written, table)
            if written.files != files:
                raise OutputError(
                    f"{self.folder} holds results of {written.files:,} files, but {files:,} were expected; "
                    "run the same command again, alone"
                )
            put(temporary, self.out)
        finally:
            temporary.unlink(missing_ok=True)
        self.remove()
        return written

    def remove(self) -> None:
        """Remove the pieces, and the folder where nothing else is in it."""
        self._clear()
        self.folder.rmdir()

    def _clear(self) -> None:
        """Remove the pieces, and last what says whose they are: a kill in between leaves a job to go on with.

        Raises:
            OutputError: other files are there; then nothing is removed.
        """
        record = self.folder / _JOB
        pieces = [path for path in self.folder.iterdir() if path != record]
        if not all(_is_ours(path) for path in pieces):
            raise OutputError(
                f"{self.folder} holds files that are not ours; move them, then run the same command again"
            )
        for path in [*pieces, record]:
            path.unlink(missing_ok=True)

    def _finished(self) -> Iterator[tuple[Path, int]]:
        """Yield the pieces with their numbers of rows, as far as they follow each other and can be read."""
        start = 0
        for path in sorted(path for path in self.folder.iterdir() if _PART.fullmatch(path.name)):
            if int(path.stem) != start:
                return
            try:
                rows = pa.parquet.read_metadata(path).num_rows
            except (pa.ArrowException, OSError):  # it is made again, with all that follow
                return
            yield path, rows
            start += rows

    def _tables(self) -> Iterator[pa.Table]:
        """Yield the pieces' tables, several together, so that the output has few row groups."""
        waiting: list[pa.Table] = []
        for path, _ in self._finished():
            try:
                waiting.append(pa.parquet.read_table(path, schema=self.schema))
            except (pa.ArrowException, OSError) as error:
                raise OutputError(
                    f"{path} is damaged ({' '.join(str(error).split())}); remove {self.folder}, "
                    "then run the same command again"
                ) from error
            if sum(table.num_rows for table in waiting) >= _GROUP_ROWS:
                yield pa.concat_tables(waiting)
                waiting = []
        if waiting:
            yield pa.concat_tables(waiting)


def _is_ours(path: Path) -> bool:
    return (_PART.fullmatch(path.name) is not None or path.suffix == ".tmp") and not path.is_dir()


def _add(written: Written, table: pa.Table) -> Written:
    counts = Counter(written.labels)
    counts.update(label for label in table.column("label").to_pylist() if label is not None)
    errors = table.num_rows - table.column("error").null_count
    return replace(written, files=written.files + table.num_rows, errors=written.errors + errors, labels=dict(counts))


def _encodable(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    put(temporary, path)
