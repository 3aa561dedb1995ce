"""Writing a run directory: whole or not at all, and never over something that is no run."""

import csv
import io
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from train.checkpoint import Checkpoint, encode_checkpoint
from train.curves import draw_png, title_of
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
    read_run,
)
from train.run_place import RUN
from train.workplace import NEW, OLD, is_free, names_in, workplace

FILES = {RECORD, STATE_DICT, METRICS, CURVES, CHECKPOINT}


def check_out(path: Path, *, overwrite: bool) -> None:
    """Check that a run may be written to a path, before hours are spent on training it; something is written to try.

    A path that is free, an empty directory and a run that was stopped are fine; a finished run needs ``overwrite``.

    Raises:
        RunError: something else stands there, or nothing can be written there.
    """
    folder = _check_place(path, overwrite=overwrite)
    try:
        # what a system says of its rights may be wrong: of /proc, of a quota, of a disk that is full
        with tempfile.TemporaryDirectory(dir=folder, prefix=".trial-") as trial:
            (Path(trial) / "trial").write_bytes(bytes(4096))
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written to ({error.strerror or error}), but the run is to stand below it; "
            "give another --out"
        ) from error


def write_run(
    path: Path,
    run: Run,
    weights: Mapping[str, Tensor],
    history: Sequence[EpochMetrics],
    *,
    checkpoint: Checkpoint | None = None,
    overwrite: bool = False,
) -> None:
    """Write a run directory beside its place and put it there, so that a crash leaves the old one or none.

    Args:
        path: The directory to make.
        run: Its record.
        weights: The network's state dict: tensors only.
        history: Its epochs, at least one.
        checkpoint: What its training can go on from; a run without one is whole, but cannot be resumed.
        overwrite: Whether a finished run that stands there may be replaced.

    Raises:
        RunError: there is no epoch, a figure is NaN or infinite, or the path is taken or cannot be written.
    """
    if not history:
        raise RunError(f"run {path} has no epoch, but at least one was expected; train it first")
    _check_figures(path, run, history)
    _check_place(path, overwrite=overwrite)
    place = path.resolve()
    try:
        with workplace(place, RUN) as folder:
            fresh = folder / NEW
            (fresh / STATE_DICT).write_bytes(_saved(dict(weights)))
            if checkpoint is not None:
                (fresh / CHECKPOINT).write_bytes(_saved(encode_checkpoint(checkpoint)))
            (fresh / METRICS).write_text(_metrics_csv(history), encoding="utf-8", newline="")
            (fresh / CURVES).write_bytes(draw_png(history, title=title_of(run, history), kept_epoch=run.best_epoch))
            # the record is written last: a directory with one is a run
            (fresh / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
            swap_directory(place, fresh, aside=folder / OLD)
    except OSError as error:
        raise RunError(f"run {path} cannot be written ({error}); free the place or give another --out") from error


def _check_figures(path: Path, run: Run, history: Sequence[EpochMetrics]) -> None:
    figures = {f"metrics {name}": value for name, value in run.metrics.items()}
    for metrics in history:
        figures |= {f"epoch {metrics.epoch} {name}": value for name, value in asdict(metrics).items()}
    for name, value in figures.items():
        if value is not None and not math.isfinite(value):
            raise RunError(
                f"run {path} has {name} {value}, but a finite number was expected, and it could not be read again; "
                "train again with a smaller --learning-rate"
            )


def _check_place(path: Path, *, overwrite: bool) -> Path:
    """Check what stands at a path; return the nearest folder above it."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise RunError(f"{path} is a file or a link, but a directory for the run was expected; give another --out")
    if not is_free(path):
        _check_replaceable(path, overwrite=overwrite)
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise RunError(f"{folder} cannot be written to, but the run is to stand below it; give another --out")
    return folder


def _check_replaceable(path: Path, *, overwrite: bool) -> None:
    names = names_in(path)
    try:
        finished = read_run(path).finished
    except RunError as error:
        if not {RECORD, STATE_DICT} <= names:
            raise RunError(f"{path} holds something that is no run, and it is left alone; give another --out") from None
        if not overwrite:
            raise RunError(f"{error}, with --overwrite to replace it, or give another --out") from None
        finished = True
    stray = sorted(names - FILES)
    if stray:
        raise RunError(
            f"{path} holds {stray[0]}, which is no part of a run and would be lost; move it or give another --out"
        )
    if finished and not overwrite:
        raise RunError(f"{path} holds a finished run; give --overwrite to replace it, or another --out")


def swap_directory(path: Path, fresh: Path, *, aside: Path) -> None:
    """Put a finished directory in its place: killed at any instant, the old one stands there or the new one.

    That holds for a power cut, too, as far as the system lets its disk be waited for. Where the system cannot exchange
    two directories, a kill may also leave the place empty, and the old one complete in `aside`, from where the next
    write puts it back.

    Args:
        path: Where it is to stand; what stands there is removed once the new one does.
        fresh: The new one, on the same file system.
        aside: Where the old one waits; a free path on the same file system.
    """
    for part in (*fresh.rglob("*"), fresh):
        _sync(part)
    if not path.exists():
        fresh.rename(path)
        _sync(path.parent)
        return
    if exchange(path, fresh):
        _sync(path.parent)
        shutil.rmtree(fresh, ignore_errors=True)
        return
    try:
        path.rename(aside)
        fresh.rename(path)
        _sync(path.parent)
    except BaseException:  # a signal may be taken as either returns
        if not path.exists() and aside.exists():
            aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    """Force a file, or what a folder lists, to disk; nothing is said where the system cannot."""
    if os.name != "posix":  # elsewhere no folder can be opened
        return
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
