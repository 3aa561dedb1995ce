"""Reading images once: batch size, worker processes and resizing beforehand, against rows that lie in memory."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.data import read_digits
from train.fashion_mnist import read_fashion_mnist
from train.studies.result import Cell, Curve, StudyResult, as_verdict

ROWS, SIZE = 4000, 64
Sample = tuple[Tensor, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds to build a loader and of one later pass over all rows: the first pass, which starts workers, is apart."""

    construct_s: float
    first_pass_s: float
    pass_s: float


class Images(Dataset[Sample]):
    """Images as a course reads them: one at a time, each resized (unless it was beforehand) and made a float tensor."""

    def __init__(self, images: NDArray[np.uint8], targets: NDArray[np.int64], *, resize: bool) -> None:
        self.images, self.targets, self.resize = images, targets, resize

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image = resize(self.images[index]) if self.resize else self.images[index]
        return torch.from_numpy(image).float()[None] / 255, int(self.targets[index])


class InMemory:
    """The same rows as tensors, a batch at a time: what this project trains from."""

    def __init__(self, images: NDArray[np.uint8], targets: NDArray[np.int64], batch_size: int) -> None:
        self.images, self.targets, self.batch_size = torch.from_numpy(images), torch.from_numpy(targets), batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.split(torch.randperm(len(self.images)), self.batch_size):
            yield self.images[index][:, None].float() / 255, self.targets[index]


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:
    """Time every arm: construction, first pass, and the median of three later passes."""
    dataset = read_digits(data_root) if quick else read_fashion_mnist(data_root, download=False)
    count = 64 if quick else ROWS
    raw, targets = dataset.train.inputs[:count, :, :, 0], dataset.train.targets[:count]
    resized = np.stack([resize(image) for image in raw])
    batch_sizes, workers = ((8, 32), (0, 1)) if quick else ((4, 16, 64, 256), (0, 1, 2, 4))
    timings: dict[tuple[str, int], Timing] = {}
    for batch_size in batch_sizes:
        for number in workers:
            for label, images, resizes in (("resized", resized, False), ("resizing", raw, True)):
                rows = Images(images, targets, resize=resizes)
                timings[f"{label}, {number} workers", batch_size] = time_loader(_loader(rows, batch_size, number))
        timings["in memory", batch_size] = time_loader(partial(InMemory, resized, targets, batch_size))
    labels = sorted({label for label, _ in timings}, reverse=True)
    rows_of_table: list[tuple[Cell, ...]] = [
        (label, size, 1e3 * timing.construct_s, 1e3 * timing.first_pass_s, 1e3 * timing.pass_s, count / timing.pass_s)
        for (label, size), timing in timings.items()
    ]
    small, large, most = batch_sizes[0], batch_sizes[-1], workers[-1]
    batching = timings[f"resizing, {most} workers", small].pass_s / timings[f"resizing, {most} workers", large].pass_s
    offline = timings[f"resizing, {most} workers", large].pass_s / timings[f"resized, {most} workers", large].pass_s
    alone = timings["resizing, 0 workers", large].pass_s
    helped = alone / min(timings[f"resizing, {number} workers", large].pass_s for number in workers[1:])
    best = min(timing.pass_s for (label, size), timing in timings.items() if label != "in memory" and size == large)
    memory = best / timings["in memory", large].pass_s
    return StudyResult(
        title=f"Reading {count:,} images at {SIZE}x{SIZE} once, in milliseconds; medians of three passes",
        claim=(
            "Large batches are far faster than small ones, more workers help up to the number of cores, and resizing "
            "beforehand pays in large batches."
        ),
        columns=("arm", "batch", "construction", "first pass", "later pass", "rows/s"),
        rows=tuple(rows_of_table),
        finding=(
            f"with {most} workers batch {large} is {batching:.1f} times as fast as batch {small}, and resizing "
            f"beforehand {offline:.1f} times as fast as resizing; the best number "
            f"of workers is {helped:.1f} times as fast as none; from memory, without workers, batch {large} is "
            f"{memory:.1f} times as fast as the best loader."
        ),
        verdict=as_verdict(batching >= 1.5, helped >= 1.2, offline >= 1.2),
        curves=tuple(
            Curve(label=label, x=batch_sizes, y=tuple(count / timings[label, size].pass_s for size in batch_sizes))
            for label in labels
        ),
        axes=("batch size", "rows per second"),
        log_scale=(True, True),
    )


def resize(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image ``(height, width)`` at the study's size."""
    return np.array(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def time_loader(build: Callable[[], Iterable[object]]) -> Timing:
    """Time construction, the first pass and the median of three more."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="This DataLoader will create"
        )  # more workers than cores: the question
        loader = build()
    constructed = time.perf_counter()
    passes = []
    for _ in range(4):
        begin = time.perf_counter()
        for _batch in loader:
            pass
        passes.append(time.perf_counter() - begin)
    return Timing(construct_s=constructed - start, first_pass_s=passes[0], pass_s=median(passes[1:]))


def _loader(rows: Images, batch_size: int, workers: int) -> Callable[[], Iterable[object]]:
    # persistent workers show only from the second pass on, which is the one that counts here
    return lambda: DataLoader(
        rows, batch_size=batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
