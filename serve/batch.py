"""Predict many image files into one table: `python -m serve.batch BUNDLE SOURCE --out predictions.parquet`."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from serve.batch_job import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Predict image files into a table with a row per file: path, label, probability, probability_LABEL..., error.

    A file that cannot be read is a row with an error. Interrupted work is kept in OUT.parts, and the same command goes
    on from there. Exit status: 0 done, 2 trouble, 130 interrupted.
    """

    bundle: tyro.conf.Positional[Path]
    """The bundle to predict with."""
    source: tyro.conf.Positional[str]
    """A folder, a pattern in quotes, a text file with one path per line, or one image."""
    out: Path
    """The table to write, .parquet or .csv; a file that is there is replaced once the new one is complete."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the graph runs."""
    batch_size: Annotated[int, tyro.conf.arg(metavar="N")] = 64
    """Images per run of the graph."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Threads that read and decode; as many as there are usable CPUs, up to 8, if not given."""
    allow_failed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Predict also with a bundle whose certificate says that parity failed."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the summary as JSON."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = tyro.cli(Options, prog="python -m serve.batch", args=argv)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata in the images that people have

    import pyarrow as pa

    from serve.batch_job import run_job
    from serve.batch_parts import OutputError
    from serve.batch_progress import Progress
    from serve.batch_source import SourceError
    from serve.bundle import BundleError
    from serve.devices import ProviderError

    try:
        with Progress("predicting", unit="files") as progress:
            report = run_job(
                options.bundle,
                options.source,
                options.out,
                provider=options.provider,
                batch_size=options.batch_size,
                workers=options.workers,
                progress=progress,
                allow_failed=options.allow_failed,
            )
    except (BundleError, ProviderError, SourceError, OutputError, OSError, pa.ArrowException) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(
            "interrupted: what is finished is kept; run the same command again, and it goes on from there\n"
        )
        return 130
    sys.stdout.write(_as_json(report) if options.json else _as_text(report))
    return 0


def _as_json(report: "Report") -> str:
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


if __name__ == "__main__":
    sys.exit(main())
