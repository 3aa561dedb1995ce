"""One batch prediction from start to end: check everything, go on where an earlier run stopped, write the table."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve.announce import beyond_certified, require_certified
from serve.batch_output import OutputError, check_output
from serve.batch_parts import Job, Parts, schema_of
from serve.batch_progress import Progress
from serve.batch_rows import BATCHES_IN_FLIGHT, Row, predict_files
from serve.batch_source import digest_files, list_files
from serve.batcher import MAX_BATCH
from serve.bundle import BundleError, Precision
from serve.classifier import Classifier
from serve.devices import Choice, usable_cpus
from serve.verdict import tensors_sentence

PART_ROWS = 512
PART_S = 10.0
MAX_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a batch prediction.

    Attributes:
        out: The table.
        files: Rows of it.
        errors: Rows whose file could not be read.
        resumed: Rows that an earlier, interrupted run had finished.
        labels: Rows by label.
        duration_s: From the start of decoding to the written table.
        files_per_s: Files of this run per second.
        bundle_sha256: Digest of the bundle.
        provider: What ran the graph.
        precision: Precision of the graph.
    """

    out: str
    files: int
    errors: int
    resumed: int
    labels: Mapping[str, int]
    duration_s: float
    files_per_s: float
    bundle_sha256: str
    provider: str
    precision: str


def run_job(
    bundle: Path,
    source: str,
    out: Path,
    *,
    provider: Choice,
    batch_size: int | None,
    workers: int | None,
    progress: Progress,
    allow_failed: bool = False,
    precision: Precision = "float32",
    public_key: Path | None = None,
) -> Report:
    """Predict all files of a source into a table.

    Raises:
        BundleError: the bundle cannot be used, takes no images, does not reproduce its golden outputs here, or has a
            certificate that says parity failed, unless `allow_failed`; or the key's owner did not sign it.
        ProviderError, SigningError: the provider, or the public key, is not usable here.
        SourceError: the source names no files.
        OutputError: the table cannot be written, another job is writing it, or an option is out of range.
    """
    for option, value in (("--batch-size", batch_size), ("--workers", workers)):
        if value is not None and value < 1:
            raise OutputError(f"{option} is {value}, but must be at least 1")
    check_output(out)
    files = list_files(source)
    rows = (BATCHES_IN_FLIGHT + 1) * (batch_size or MAX_BATCH)
    with Classifier.open(
        bundle,
        provider=provider,
        precision=precision,
        max_batch=batch_size,
        max_queue_rows=rows,
        public_key=public_key,
    ) as classifier:
        check_classifier(classifier)
        if not allow_failed:
            require_certified(classifier.bundle, precision)
        beyond = beyond_certified(classifier, option="--batch-size")
        if beyond is not None:
            progress.say(beyond)
        labels = classifier.manifest.labels
        job = Job(
            name=classifier.name,
            bundle_sha256=classifier.manifest.sha256,
            files_sha256=digest_files(files),
            files=len(files),
            provider=classifier.provider,
            precision=classifier.precision,
        )
        with Parts(out, schema=schema_of(labels, job), labels=labels) as parts:
            done, replaced = parts.open(job)
            if replaced:
                progress.say(
                    f"{parts.folder} was of another job (bundle, files or provider changed), so it starts anew"
                )
            elif done:
                progress.say(f"going on after {done:,} files that an earlier run finished")
            started = time.perf_counter()
            progress.start(len(files), done=done)
            found = predict_files(
                classifier,
                files[done:],
                batch_size=batch_size or classifier.batcher.max_batch,
                workers=workers or _workers(),
            )
            _keep(parts, files, found, done=done, progress=progress)
            written = parts.merge(len(files))
    duration_s = time.perf_counter() - started
    return Report(
        out=str(out),
        files=written.files,
        errors=written.errors,
        resumed=done,
        labels=written.labels,
        duration_s=duration_s,
        files_per_s=(written.files - done) / duration_s,
        bundle_sha256=job.bundle_sha256,
        provider=job.provider,
        precision=job.precision,
    )


def check_classifier(classifier: Classifier) -> None:
    """Check that a classifier turns images into labels, and that it may.

    Raises:
        BundleError: it does not.
    """
    manifest = classifier.manifest
    if manifest.task == "tensors":
        raise BundleError(f"bundle {classifier.bundle.path} cannot fill a table: {tensors_sentence(manifest)}")
    if manifest.preprocessing is None or manifest.task == "regression":
        raise BundleError(
            f"bundle {classifier.bundle.path} is no image classifier (task {manifest.task}), but batch prediction of "
            "images needs one; send its tensors to a server"
        )
    if classifier.reason is not None:
        raise BundleError(classifier.reason)


def _keep(parts: Parts, files: Sequence[Path], found: Iterator[Row], *, done: int, progress: Progress) -> None:
    """Write rows in pieces, every `PART_ROWS` or `PART_S`, and what there is when the work is interrupted."""
    rows: list[Row] = []
    since = time.perf_counter()
    try:
        for row in found:
            rows.append(row)
            progress.advance(failed=row.error is not None)
            if len(rows) >= PART_ROWS or time.perf_counter() - since >= PART_S:
                parts.write(done, files[done : done + len(rows)], rows)
                done, rows, since = done + len(rows), [], time.perf_counter()
    finally:
        if rows:
            parts.write(done, files[done : done + len(rows)], rows)


def _workers() -> int:
    return min(MAX_WORKERS, usable_cpus())
