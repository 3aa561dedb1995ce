"""Predict many images, or a table's rows, into a table: `python -m serve.batch BUNDLE SOURCE --out OUT.parquet`."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from serve.command_line import told_in_one_sentence

if TYPE_CHECKING:
    from serve.batch_job import Report
    from serve.table_job import TableReport

_PROG = "python -m serve.batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Predict image files into a table with a row per file: path, label, probability, probability_LABEL..., error.

    With a bundle of tables, SOURCE is a .csv or .parquet file; its columns are kept, and the prediction and an error
    per row stand beside them.

    A file that cannot be read is a row with an error; if all are, that is trouble. Interrupted work on files is kept in
    OUT.parts, and the same command goes on from there. Exit status: 0 done, 2 trouble, 130 interrupted.
    """

    bundle: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
    """The bundle to predict with."""
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """A folder, a pattern in quotes, a text file with one path per line, one image; or a table."""
    out: Annotated[Path, tyro.conf.arg(metavar="OUT")]
    """The table to write, .parquet or .csv; a file that is there is replaced once the new one is complete."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the graph runs."""
    precision: Literal["float32", "float16", "int8"] = "float32"
    """Which graph of the bundle runs; the reduced ones are there where the export was asked for them."""
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Rows per run of the graph; if not given, 64 images or 1,024 rows of a table, or as many as the certificate proves
    together where those are fewer."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Threads that read and decode; as many as there are usable CPUs, up to 8, if not given."""
    allow_failed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Predict also with a bundle whose certificate says that parity failed."""
    require_signature: Annotated[Path | None, tyro.conf.arg(metavar="KEY")] = None
    """Predict only with a bundle that the owner of this public key (PEM) signed with `python -m export.sign`."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the summary as JSON."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    with told_in_one_sentence(Options, prog=_PROG, args=argv):
        options = tyro.cli(Options, prog=_PROG, args=argv)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata in the images that people have

    import pyarrow as pa

    from serve.batch_job import run_job
    from serve.batch_output import OutputError
    from serve.batch_progress import Progress
    from serve.batch_source import SourceError
    from serve.bundle import BundleError, read_bundle
    from serve.devices import ProviderError
    from serve.signing import SigningError
    from serve.table_job import predict_table

    is_table = False
    try:
        with Progress("predicting", unit="files") as progress:
            is_table = bool(read_bundle(options.bundle).manifest.features)
            if is_table:
                table = predict_table(
                    options.bundle,
                    Path(options.source),
                    options.out,
                    provider=options.provider,
                    precision=options.precision,
                    batch_size=options.batch_size,
                    say=progress.say,
                    allow_failed=options.allow_failed,
                    public_key=options.require_signature,
                )
                sys.stdout.write(_as_json(table) if options.json else _table_as_text(table))
                return 0
            report = run_job(
                options.bundle,
                options.source,
                options.out,
                provider=options.provider,
                precision=options.precision,
                batch_size=options.batch_size,
                workers=options.workers,
                progress=progress,
                allow_failed=options.allow_failed,
                public_key=options.require_signature,
            )
    except (BundleError, ProviderError, SigningError, SourceError, OutputError, OSError, pa.ArrowException) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        kept = "nothing was written" if is_table else "what is finished is kept"
        again = "run the same command again" + ("" if is_table else ", and it goes on from there")
        sys.stderr.write(f"interrupted: {kept}; {again}\n")
        return 130
    sys.stdout.write(_as_json(report) if options.json else _as_text(report))
    if report.errors == report.files:
        sys.stderr.write(
            f"error: none of the {report.files} files could be predicted; the error column of {report.out} says why\n"
        )
        return 2
    return 0


def _as_json(report: "Report | TableReport") -> str:
    import msgspec

    return msgspec.json.encode(report).decode() + "\n"


def _as_text(report: "Report") -> str:
    resumed = f", {report.resumed:,} of them in an earlier run" if report.resumed else ""
    lines = [f"{report.files:,} files{resumed}, {report.errors:,} of them not readable"]
    width = max(map(len, report.labels))
    most = max(report.labels.values(), default=0)
    lines += [f"  {label:<{width}}  {count:>{len(f'{most:,}')},}" for label, count in report.labels.items()]
    source = f"bundle {report.bundle_sha256[:12]} on {report.provider}"
    lines.append(f"{report.duration_s:.1f} s, {report.files_per_s:,.0f} files/s, {source}")
    lines.append(f"written to {report.out}")
    return "\n".join(lines) + "\n"


def _table_as_text(report: "TableReport") -> str:
    lines = [f"{report.rows:,} rows, {report.errors:,} of them not predicted"]
    width = max(map(len, report.labels), default=0)
    lines += [f"  {label:<{width}}  {count:,}" for label, count in report.labels.items()]
    source = f"bundle {report.bundle_sha256[:12]} on {report.provider}"
    lines.append(f"{report.duration_s:.1f} s, {report.rows_per_s:,.0f} rows/s, {source}")
    lines.append(f"written to {report.out}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
