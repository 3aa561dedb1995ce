"""Pictures from a seed: patches of colour, large and small, so that no two look alike to a network."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_CELLS = (2, 4, 8, 16, 32)


def draw_pictures(count: int, *, side: int, seed: int) -> NDArray[np.uint8]:
    """Draw pictures, ``(count, side, side, 3)``: noise of several grains, each picture with its own light."""
    rng = np.random.default_rng(seed)
    pictures = np.empty((count, side, side, 3), dtype=np.uint8)
    for picture in pictures:
        layers = [_grain(rng, cells, side) for cells in _CELLS]
        mixed = np.tensordot(rng.dirichlet(np.ones(len(layers))), np.stack(layers), axes=1)
        low, high = np.sort(rng.uniform(0, 255, size=2))
        spread = (mixed - mixed.min()) / np.ptp(mixed)
        picture[:] = np.rint(low + (high - low) * spread)
    return pictures


def write_pictures(folder: Path, count: int, *, side: int, seed: int) -> None:
    """Write pictures as PNG files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(draw_pictures(count, side=side, seed=seed)):
        Image.fromarray(picture).save(folder / f"{index:02}.png")


def _grain(rng: np.random.Generator, cells: int, side: int) -> NDArray[np.float64]:
    small = Image.fromarray(rng.integers(0, 256, size=(cells, cells, 3), dtype=np.uint8))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
