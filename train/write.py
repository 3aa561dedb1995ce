"""Writing a run directory: whole or not at all, and never over something that is no run."""

import csv
import glob
import io
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from train.checkpoint import Checkpoint, encode_checkpoint
from train.curves import draw_png
from train.exchange import exchange
from train.run import (
    CHECKPOINT,
    CURVES,
    METRICS,
    RECORD,
    STATE_DICT,
    EpochMetrics,
    Run,
    RunError,
    kept_metrics,
    read_run,
)

TEMPORARY_LETTERS = 8  # that `tempfile` appends to a prefix
FILES = {RECORD, STATE_DICT, METRICS, CURVES, CHECKPOINT}


def check_out(path: Path, *, overwrite: bool) -> None:
    """Check that a run may be written to a path, before hours are spent on training it.

    A path that is free, an empty directory and a run that was stopped are fine; a finished run needs ``overwrite``.

    Raises:
        RunError: something else stands there, or nothing can be written there.
    """
    if path.is_dir() and not path.is_symlink():
        if any(path.iterdir()):
            _check_replaceable(path, overwrite=overwrite)
    elif path.exists() or path.is_symlink():
        raise RunError(f"{path} is a file or a link, but a directory for the run was expected; give another --out")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise RunError(f"{folder} cannot be written to, but the run is to stand below it; give another --out")


def write_run(
    path: Path,
    run: Run,
    weights: Mapping[str, Tensor],
    history: Sequence[EpochMetrics],
    *,
    checkpoint: Checkpoint | None = None,
    overwrite: bool = False,
) -> None:
    """Write a run directory to a temporary sibling and rename it, so that a crash leaves the old one or none.

    Args:
        path: The directory to make.
        run: Its record.
        weights: The network's state dict: tensors only.
        history: Its epochs, at least one.
        checkpoint: What its training can go on from; a run without one is whole, but cannot be resumed.
        overwrite: Whether a finished run that stands there may be replaced.

    Raises:
        RunError: there is no epoch, or the path is taken or cannot be written.
    """
    if not history:
        raise RunError(f"run {path} has no epoch, but at least one was expected; train it first")
    check_out(path, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            fresh = Path(folder) / "new"
            fresh.mkdir()
            (fresh / STATE_DICT).write_bytes(_saved(dict(weights)))
            if checkpoint is not None:
                (fresh / CHECKPOINT).write_bytes(_saved(encode_checkpoint(checkpoint)))
            (fresh / METRICS).write_text(_metrics_csv(history), encoding="utf-8", newline="")
            (fresh / CURVES).write_bytes(draw_png(history, title=_title(run, history), kept_epoch=run.best_epoch))
            # the record is written last: a directory with one is a run
            (fresh / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
            swap_directory(path, fresh, aside=Path(folder) / "old")
    except OSError as error:
        raise RunError(f"run {path} cannot be written ({error}); free the place or give another --out") from error


def _check_replaceable(path: Path, *, overwrite: bool) -> None:
    try:
        earlier = read_run(path)
    except RunError:
        raise RunError(f"{path} holds something that is no run, and it is left alone; give another --out") from None
    stray = sorted({entry.name for entry in path.iterdir()} - FILES)
    if stray:
        raise RunError(
            f"{path} holds {stray[0]}, which is no part of a run and would be lost; move it or give another --out"
        )
    if earlier.finished and not overwrite:
        raise RunError(f"{path} holds a finished run; give --overwrite to replace it, or another --out")


def write_file(path: Path, content: bytes) -> None:
    """Write a file to a temporary sibling and rename it, so that a crash leaves the old one or none.

    Raises:
        RunError: it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            fresh = Path(folder) / path.name
            fresh.write_bytes(content)
            fresh.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror}); give another --out") from error


def swap_directory(path: Path, fresh: Path, *, aside: Path) -> None:
    """Put a finished directory in its place: killed at any instant, the old one stands there or the new one.

    Where the system cannot exchange two directories, a kill may also leave the place empty, and the old one complete
    in `aside`, from where the next write puts it back.

    Args:
        path: Where it is to stand; what stands there is removed once the new one does.
        fresh: The new one, on the same file system.
        aside: Where the old one waits; a free path on the same file system.
    """
    if not path.exists():
        fresh.rename(path)
        return
    if exchange(path, fresh):
        shutil.rmtree(fresh)
        return
    path.rename(aside)
    try:
        fresh.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside)


def rescue_run(path: Path) -> None:
    """Put a run back that a kill left aside while a newer one was put in its place, and clear away what kills left.

    Nothing else may be writing that run.
    """
    leftovers = sorted(path.parent.glob(f".{glob.escape(path.name)}-{'?' * TEMPORARY_LETTERS}"))
    for leftover in leftovers:
        for candidate in (leftover / "new", leftover / "old"):
            if not path.exists() and _is_run(candidate):
                candidate.rename(path)
    for leftover in leftovers:
        shutil.rmtree(leftover)


def _is_run(path: Path) -> bool:
    try:
        read_run(path)
    except RunError:
        return False
    return True


def _saved(content: object) -> bytes:
    buffer = io.BytesIO()  # torch.save to a full disk raises what says nothing of it
    torch.save(content, buffer)
    return buffer.getvalue()


def _metrics_csv(history: Sequence[EpochMetrics]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(EpochMetrics)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(metrics) for metrics in history)
    return text.getvalue()


def _title(run: Run, history: Sequence[EpochMetrics]) -> str:
    stopped = "" if run.finished else f", stopped after {run.epochs_done} of {run.epochs} epochs"
    metrics = kept_metrics(run, history)
    accuracy = metrics.test_top1_accuracy
    result = f"test loss {metrics.test_loss:.4g}" if accuracy is None else f"{accuracy:.2%} of the test split right"
    return f"{run.recipe or run.factory}: {result}{stopped}"
