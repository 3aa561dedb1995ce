"""Accuracy on images that are spoilt before `serve.preprocess` sees them, as photos are in the world."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluate.accuracy.corruptions import CORRUPTIONS, Corruption
from evaluate.accuracy.spoilt import Robustness, SpoiltAccuracy
from evaluate.compare import interval
from evaluate.inputs import count
from evaluate.labelled import Labelled
from evaluate.reduced import paired_drop
from export.module_runner import run_batches
from serve.bundle import ImagePreprocessing
from serve.decisions import decide
from serve.preprocess import decode_image, prepare_image
from serve.runner import Runner

MOST_ROWS = 2000  # 16 settings of each graph: more rows would make them wait
_BATCH = 256
_MOST_SIDE = 1024  # of a drawing; nobody tells more pixels from it
_MOST_LONG_SIDE = 4096  # of a photo whose shorter side is resized: a line must not become a square
CLEAN = "clean"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One graph to be tried, and what it decided on all samples unspoilt, ``(rows,)``."""

    graph: str
    provider: str
    runner: Runner
    decided: NDArray[np.int64]


def measure_robustness(
    subjects: Sequence[Subject],
    labelled: Labelled,
    spec: ImagePreprocessing,
    *,
    batch_size: int,
    seed: int,
    on_step: Callable[[str], None] = lambda _: None,
) -> Robustness:
    """Run every graph on images spoilt in every way.

    Args:
        subjects: The graphs.
        labelled: Images whose class is known; at most 2,000 of them are taken.
        spec: The bundle's preprocessing.
        batch_size: Rows of one run, at most.
        seed: Decides which images are taken, the noise, and which way each is turned; each image has chance of its own,
            so that it does not matter which others are taken.
        on_step: Told what is being done.
    """
    total = count(labelled.inputs)
    rows = np.sort(np.random.default_rng(seed).permutation(total)[:MOST_ROWS])
    truth = labelled.truth[rows]
    photos, last = _photos(labelled, spec)
    clean = [subject.decided[rows] == truth for subject in subjects]
    settings = [
        _accuracy(subject, right, None, kind=CLEAN, strength=0.0, unit="")
        for subject, right in zip(subjects, clean, strict=True)
    ]
    name = next(iter(labelled.inputs))
    batch_size = min(batch_size, _BATCH)
    for place, corruption in enumerate(CORRUPTIONS):
        for level, strength in enumerate(corruption.strengths):
            on_step(f"{corruption.kind}, {strength:g} {corruption.unit}")
            decided: list[list[NDArray[np.int64]]] = [[] for _ in subjects]
            for start in range(0, len(rows), _BATCH):
                chosen = rows[start : start + _BATCH]
                chances = (np.random.default_rng((seed, place, level, int(row))) for row in chosen)
                images = np.stack(list(_spoil(map(photos, chosen.tolist()), chances, corruption, strength, last)))
                for subject, of_subject in zip(subjects, decided, strict=True):
                    logits = run_batches(subject.runner, {name: images}, batch_size=batch_size)["logits"]
                    of_subject.append(np.where(np.isfinite(logits).all(axis=1), decide(logits), -1))
            for subject, of_subject, before in zip(subjects, decided, clean, strict=True):
                right = np.concatenate(of_subject) == truth
                settings.append(
                    _accuracy(subject, right, before, kind=corruption.kind, strength=strength, unit=corruption.unit)
                )
    some = f"{len(rows)} of {labelled.source}, chosen by seed {seed}" if len(rows) < total else labelled.source
    how = "" if labelled.originals is not None else ", as prepared for the network"
    return Robustness(source=f"{some}{how}", rows=len(rows), seed=seed, settings=tuple(settings))


def _spoil(
    images: Iterator[Image.Image],
    chances: Iterator[np.random.Generator],
    corruption: Corruption,
    strength: float,
    spec: ImagePreprocessing,
) -> Iterator[NDArray[np.uint8]]:
    for image, chance in zip(images, chances, strict=True):
        yield prepare_image(corruption.spoil(image, strength, chance), spec)


def _photos(labelled: Labelled, spec: ImagePreprocessing) -> tuple[Callable[[int], Image.Image], ImagePreprocessing]:
    """Return how to get an image that can be spoilt, and how it is prepared afterwards."""
    if labelled.originals is None:  # they have been cut and resized, and must not be once more
        arrays, last = next(iter(labelled.inputs.values())), replace(spec, fit="stretch", resize=None)
        return lambda row: image_of(arrays[row]), last
    originals = labelled.originals()

    def photo(row: int) -> Image.Image:
        original = originals[row]
        whole = decode_image(original.read_bytes()) if isinstance(original, Path) else image_of(original)
        return as_seen(whole, spec)

    return photo, spec


def as_seen(image: Image.Image, spec: ImagePreprocessing) -> Image.Image:
    """Return an image in the colours and of the size in which the network will look at it, but not cut yet.

    Noise on a photo of 12 megapixels would vanish when it is resized, and cost seconds. To prepare what is returned is
    to prepare the image itself, pixel by pixel.
    """
    width, height = spec.width, spec.height
    if spec.fit == "ink":
        scale = min(1.0, _MOST_SIDE / max(image.size))
        width, height = (max(1, round(side * scale)) for side in image.size)
    elif spec.resize is not None:
        shorter, longer = sorted(image.size)
        scaled = spec.resize * longer // shorter
        if scaled > _MOST_LONG_SIDE:
            return image_of(prepare_image(image, spec))
        width, height = (spec.resize, scaled) if image.width <= image.height else (scaled, spec.resize)
    return image_of(prepare_image(image, replace(spec, fit="stretch", resize=None, width=width, height=height)))


def image_of(pixels: NDArray[Any]) -> Image.Image:
    """Return an array ``(height, width, channels)`` as an image."""
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)


def _accuracy(
    subject: Subject,
    right: NDArray[np.bool_],
    before: NDArray[np.bool_] | None,
    *,
    kind: str,
    strength: float,
    unit: str,
) -> SpoiltAccuracy:
    correct, rows = int(right.sum()), len(right)
    return SpoiltAccuracy(
        kind=kind,
        strength=float(strength),
        unit=unit,
        graph=subject.graph,
        provider=subject.provider,
        rows=rows,
        correct=correct,
        top1_accuracy=correct / rows,
        interval_95=interval(correct, rows),
        drop=None if before is None else paired_drop(before, right),
    )
