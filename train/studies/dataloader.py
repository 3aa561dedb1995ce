"""Reading images once: batches, workers, pinned memory, persistent workers, resizing beforehand, and memory alone."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as Rows

from train import dataset as data
from train.data import read_digits
from train.dataset import MissingDataError
from train.fashion_mnist import read_fashion_mnist
from train.studies.loaders import (
    SIZE,
    Images,
    InMemory,
    OnDevice,
    Sample,
    Timing,
    build_loader,
    resize,
    time_action,
    time_loader,
)
from train.studies.reading_claims import (
    MEMORY,
    OFFLINE,
    ONLINE,
    PERSISTENT,
    PINNED,
    UNPINNED,
    Key,
    Whole,
    fastest_workers,
    grid_checks,
    whole_checks,
)
from train.studies.result import Cell, Curve, StudyResult, judge

ROWS, WHOLE_BATCH, WHOLE_WORKERS = 3000, 256, 4
BATCHES, WORKERS = (1, 4, 16, 64), (0, 1, 2, 4, 8)
PERSISTENT_BATCHES, PERSISTENT_WORKERS = (1, 8, 64), (1, 4)


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:
    """Time every arm, each with a warm-up and three loaders, construction apart."""
    dataset, fallback = _read(quick=quick, data_root=data_root)
    count, batches, workers = (48, (8, 16), (0, 1)) if quick else (ROWS, BATCHES, WORKERS)
    images, targets = dataset.train.inputs[:count, :, :, 0], dataset.train.targets[:count]
    timings = _grid(images, targets, batches, workers, repeats=1 if quick else 3)
    course = _course_rows(dataset, data_root)
    whole = _read_whole(
        dataset.train, course, workers=workers[-1] if quick else WHOLE_WORKERS, repeats=1 if quick else 3
    )
    name = "digits" + fallback if dataset.name == "digits" else "Fashion-MNIST"
    missing = () if any(label == PINNED for label, _, _ in timings) else _unpinned()
    checks, aims = grid_checks(timings, batches, workers, cores=count_cores()), whole_checks(whole)
    fastest = fastest_workers(timings, batches[-1], workers)
    curves = [(ONLINE, number) for number in workers] + [(OFFLINE, workers[-2]), (MEMORY, 0)]
    return StudyResult(
        title=f"Reading {len(images):,} images of {name} at {SIZE}x{SIZE}, and all {len(dataset.train):,} as they are",
        claim=(
            "Large batches are far faster than small ones; more workers help up to four; pinned memory with persistent "
            "workers changes nothing; resizing beforehand is 0.85 to 3.54 times as fast."
        ),
        columns=("arm", "batch", "workers", "build, ms", "first pass, ms", "later pass, ms", "images/s"),
        rows=(*_rows(timings, len(images)), *missing, *_whole_rows(whole, len(dataset.train))),
        finding=(
            f"the notes read 60,000 at a time, so that starting workers weighed less than with {len(images):,}; their "
            f"timer spans a new loader and one pass, so that persistent workers could show nothing, and "
            f"nothing was copied to a device, so that pinned memory could not either. All {len(dataset.train):,} "
            f"images take {whole.loader:.3g} s through a DataLoader and {whole.floats:.3g} s from memory. "
            f"In batches of {batches[-1]}, {fastest} worker{'' if fastest == 1 else 's'} "
            f"{'is' if fastest == 1 else 'are'} the fastest on {count_cores()} cores; of this project's own aims, "
            f"{sum(bool(aim.holds) for aim in aims)} of {len(aims)} are reached."
        ),
        verdict=judge(checks),
        checks=checks,
        aims=aims,
        curves=tuple(
            Curve(
                label=label if label == MEMORY else f"{label}, {number} worker{'' if number == 1 else 's'}",
                x=batches,
                y=tuple(len(images) / timings[label, batch, number].later_pass_s for batch in batches),
            )
            for label, number in curves
        ),
        axes=("batch size", "images per second"),
        log_scale=(True, True),
    )


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(*, quick: bool, data_root: Path) -> tuple[data.Dataset, str]:
    if quick:
        return read_digits(data_root), ""
    try:
        return read_fashion_mnist(data_root, download=False), ""
    except MissingDataError:
        return read_digits(data_root), " (Fashion-MNIST is not there)"


def _course_rows(dataset: data.Dataset, data_root: Path) -> Rows[Sample]:
    """Return what the notes give their loader: torchvision's data set, each image a PIL image made a tensor."""
    if dataset.name == "digits":
        return Images(dataset.train.inputs[..., 0], dataset.train.targets, resize=False)
    from torchvision.datasets import FashionMNIST  # type: ignore[import-untyped]
    from torchvision.transforms import ToTensor  # type: ignore[import-untyped]

    rows: Rows[Sample] = FashionMNIST(data_root, train=True, transform=ToTensor())
    return rows


def _grid(
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    batches: tuple[int, ...],
    workers: tuple[int, ...],
    *,
    repeats: int,
) -> dict[Key, Timing]:
    resized = np.stack([resize(image) for image in images])
    online, offline = Images(images, targets, resize=True), Images(resized, targets, resize=False)
    timings: dict[Key, Timing] = {}
    for batch in batches:
        for number in workers:
            for label, rows in ((ONLINE, online), (OFFLINE, offline)):
                build = partial(build_loader, rows, batch, number)
                warm_up = batch == batches[0]
                timings[label, batch, number] = time_loader(build, repeats=repeats, later=False, warm_up=warm_up)
        timings[MEMORY, batch, 0] = time_loader(partial(InMemory, resized, targets, batch), repeats=repeats)
        for number in (number for number in PERSISTENT_WORKERS if number in workers and batch in PERSISTENT_BATCHES):
            build = partial(build_loader, online, batch, number, persistent=True)
            timings[PERSISTENT, batch, number] = time_loader(build, repeats=repeats, warm_up=False)
            if torch.cuda.is_available():
                for label, pinned in ((UNPINNED, False), (PINNED, True)):
                    copied = partial(_copied, online, batch, number, pinned=pinned)
                    timings[label, batch, number] = time_loader(copied, repeats=repeats)
    return timings


def _copied(rows: Images, batch: int, workers: int, *, pinned: bool) -> OnDevice:
    loader = build_loader(rows, batch, workers, persistent=True, pinned=pinned)
    return OnDevice(loader, torch.device("cuda"), pinned=pinned)


def _read_whole(split: data.Split, course: Rows[Sample], *, workers: int, repeats: int) -> Whole:
    """Time the whole split: through the loader of the notes, from memory, and the mere copying of as many bytes."""
    images, targets = split.inputs[..., 0], split.targets
    stored = torch.from_numpy(images)

    def memory(*, as_float: bool) -> float:
        build = partial(InMemory, images, targets, WHOLE_BATCH, as_float=as_float)
        return time_loader(build, repeats=repeats, later=False).printed_s

    return Whole(
        loader=time_loader(partial(build_loader, course, WHOLE_BATCH, workers), repeats=repeats, later=False).printed_s,
        floats=memory(as_float=True),
        stored=memory(as_float=False),
        copy_floats=_copy_s(stored.float(), repeats=repeats),
        copy_stored=_copy_s(stored, repeats=repeats),
    )


def _copy_s(source: Tensor, *, repeats: int) -> float:
    target = torch.empty_like(source)
    return time_action(lambda: target.copy_(source), repeats=repeats)


def _rows(timings: dict[Key, Timing], count: int) -> tuple[tuple[Cell, ...], ...]:
    return tuple(
        (
            label,
            batch,
            workers,
            1e3 * timing.construct_s,
            1e3 * timing.first_pass_s,
            1e3 * timing.later_pass_s,
            count / timing.later_pass_s,
        )
        for (label, batch, workers), timing in sorted(timings.items())
    )


def _unpinned() -> tuple[tuple[Cell, ...], ...]:
    return ((PINNED, "-", "-", "needs CUDA: not measured", "-", "-", "-"),)


def _whole_rows(whole: Whole, count: int) -> tuple[tuple[Cell, ...], ...]:
    arms = (
        ("all, as they are: DataLoader", whole.loader),
        ("all, as they are: in memory, float", whole.floats),
        ("all, as they are: in memory, uint8", whole.stored),
        ("copying as many floats", whole.copy_floats),
        ("copying as many bytes", whole.copy_stored),
    )
    return tuple((label, WHOLE_BATCH, "-", "-", "-", 1e3 * seconds, count / seconds) for label, seconds in arms)
