"""Ways in which photos are spoilt in the world, at a few strengths each."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

Spoil = Callable[[Image.Image, float, np.random.Generator], Image.Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """One way of spoiling an image.

    Attributes:
        kind: What it is called.
        unit: What a strength is.
        strengths: From mild to severe, or from dark to bright.
        clean: The strength that changes nothing.
        spoil: Takes an image of mode L or RGB, a strength, and what chance is drawn from; the size stays.
    """

    kind: str
    unit: str
    strengths: tuple[float, ...]
    clean: float
    spoil: Spoil


def add_noise(image: Image.Image, sigma: float, rng: np.random.Generator) -> Image.Image:
    """Add Gaussian noise to every pixel and channel."""
    pixels = np.asarray(image, dtype=np.float32)
    noisy = pixels + np.float32(sigma) * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), mode=None)


def blur(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:  # noqa: ARG001 - as the others
    """Blur by a Gaussian whose radius is a share of the shorter side."""
    return image.filter(ImageFilter.GaussianBlur(share / 100 * min(image.size)))


def brighten(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:  # noqa: ARG001 - as the others
    """Multiply every pixel."""
    return ImageEnhance.Brightness(image).enhance(factor)


def compress(image: Image.Image, quality: float, rng: np.random.Generator) -> Image.Image:  # noqa: ARG001 - as the others
    """Write as JPEG, and read again."""
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=round(quality))
    with Image.open(file) as read:
        read.load()
        return read.convert(image.mode)


def rotate(image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    """Turn one way or the other; the corners take the colour of the border."""
    pixels = np.asarray(image)
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    colour = np.median(np.concatenate(edges), axis=0)
    way = 1 if rng.random() < 0.5 else -1
    fill = tuple(round(float(value)) for value in np.atleast_1d(colour))
    return image.rotate(way * degrees, resample=Image.Resampling.BILINEAR, fillcolor=fill if len(fill) > 1 else fill[0])


CORRUPTIONS = (
    Corruption(kind="noise", unit="grey levels", strengths=(10, 25, 50), clean=0, spoil=add_noise),
    Corruption(kind="blur", unit="% of the side", strengths=(1, 2.5, 5), clean=0, spoil=blur),
    Corruption(kind="brightness", unit="times", strengths=(0.4, 0.7, 1.4, 2.0), clean=1, spoil=brighten),
    Corruption(kind="JPEG", unit="of 100", strengths=(75, 40, 15), clean=100, spoil=compress),
    Corruption(kind="rotation", unit="degrees", strengths=(5, 15, 30), clean=0, spoil=rotate),
)
