"""Reading a table file, CSV or Parquet, piece by piece."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from serve.batch_source import SourceError

PIECE_ROWS = 8192
_BLOCK_BYTES = 1 << 20


def read_pieces(source: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Open a table: its columns, and its rows in pieces of at most `PIECE_ROWS`.

    What stands in a CSV file stays text, so that it is written again just as it was.

    Raises:
        SourceError: there is no such file, or it is no table; also while the pieces are read.
    """
    if not source.is_file():
        raise SourceError(f"{source} does not exist, but a .csv or .parquet file was expected, for a model of tables")
    suffix = source.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise SourceError(f"{source} ends in {suffix or 'nothing'}, but a model of tables takes .csv or .parquet")
    try:
        schema, batches = _open_csv(source) if suffix == ".csv" else _open_parquet(source)
    except pa.ArrowException as error:
        raise _unreadable(source, error) from error
    plain = pa.schema(
        [field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in schema],
        metadata=schema.metadata,
    )
    return plain, _pieces(source, batches, plain)


def _open_csv(source: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    read = pa.csv.ReadOptions(block_size=_BLOCK_BYTES)
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    with pa.csv.open_csv(source, read_options=read, parse_options=parse) as reader:
        names = reader.schema.names
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    reader = pa.csv.open_csv(source, read_options=read, parse_options=parse, convert_options=convert)
    return reader.schema, iter(reader)


def _open_parquet(source: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    file = pa.parquet.ParquetFile(source)
    return file.schema_arrow, file.iter_batches(batch_size=PIECE_ROWS)


def _pieces(source: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        for batch in batches:
            columns = [
                column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
                for column in batch.columns
            ]
            plain = pa.RecordBatch.from_arrays(columns, schema=schema)
            for start in range(0, plain.num_rows, PIECE_ROWS):
                yield plain.slice(start, PIECE_ROWS)
    except pa.ArrowException as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: Exception) -> SourceError:
    kind = "CSV in UTF-8 with a heading" if source.suffix.lower() == ".csv" else "Parquet"
    return SourceError(f"{source} cannot be read ({' '.join(str(error).split())}), but {kind} was expected")
