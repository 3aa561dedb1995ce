"""Ways of reading images, and timing them: what the study of reading compares."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SIZE = 64
REPEATS = 3
LATER_PASSES = 2
Sample = tuple[Tensor, int]
Batches = Iterable[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Medians in seconds: to build a loader, its first pass over all rows, which starts workers, and a later one."""

    construct_s: float
    first_pass_s: float
    later_pass_s: float

    @property
    def printed_s(self) -> float:
        """What the notes' timer spans: a new loader and one pass."""
        return self.construct_s + self.first_pass_s


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
    """The same rows as tensors, shuffled, a batch at a time: as they are stored, or as floats, which loaders give."""

    def __init__(
        self, images: NDArray[np.uint8], targets: NDArray[np.int64], batch_size: int, *, as_float: bool = True
    ) -> None:
        self.images, self.targets = torch.from_numpy(images)[:, None], torch.from_numpy(targets)
        self.batch_size, self.as_float = batch_size, as_float

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.split(torch.randperm(len(self.images)), self.batch_size):
            images = self.images.index_select(0, index)  # copies rows whole: six times as fast as self.images[index]
            yield images.float().div_(255) if self.as_float else images, self.targets.index_select(0, index)


class OnDevice:
    """A loader whose batches are copied to a device, as training does; pinned memory matters to this copy alone."""

    def __init__(self, loader: Iterable[tuple[Tensor, Tensor]], device: torch.device, *, pinned: bool) -> None:
        self.loader, self.device, self.pinned = loader, device, pinned

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, targets in self.loader:
            yield (
                images.to(self.device, non_blocking=self.pinned),
                targets.to(self.device, non_blocking=self.pinned),
            )
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def resize(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image ``(height, width)`` at the study's size."""
    return np.array(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def build_loader(
    rows: Dataset[Sample], batch_size: int, workers: int, *, persistent: bool = False, pinned: bool = False
) -> DataLoader[Sample]:
    """Build torch's DataLoader as the notes do: shuffled, each sample by itself."""
    return DataLoader(
        rows,
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=persistent,
        pin_memory=pinned,
    )


def time_loader(
    build: Callable[[], Batches], *, repeats: int = REPEATS, later: bool = True, warm_up: bool = True
) -> Timing:
    """Time construction, first pass and later passes of some new loaders.

    Args:
        build: Makes a loader.
        repeats: How many loaders are timed; each figure is a median.
        later: Whether later passes are timed: they are like the first where workers are started anew for each.
        warm_up: Whether one more loader and pass come before: not needed where the same rows were read just now.
    """
    constructions, firsts, laters = [], [], []
    with warnings.catch_warnings():
        # more workers than cores is what is asked here
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        if warm_up:
            _pass_s(build())
        for _ in range(repeats):
            start = time.perf_counter()
            loader = build()
            constructions.append(time.perf_counter() - start)
            firsts.append(_pass_s(loader))
            laters += [_pass_s(loader) for _ in range(LATER_PASSES if later else 0)]
    return Timing(construct_s=median(constructions), first_pass_s=median(firsts), later_pass_s=median(laters or firsts))


def time_action(act: Callable[[], object], *, repeats: int) -> float:
    """Return the median seconds of doing something, after doing it once."""
    act()
    durations = []
    for _ in range(repeats):
        begin = time.perf_counter()
        act()
        durations.append(time.perf_counter() - begin)
    return median(durations)


def _pass_s(loader: Batches) -> float:
    begin = time.perf_counter()
    for _batch in loader:
        pass
    return time.perf_counter() - begin
