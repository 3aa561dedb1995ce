"""What a sample looks like in a page: a small image inside the page itself, or the values of its columns."""

import base64
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluate.inputs import Arrays
from evaluate.report.findings import Shown
from serve.bundle import Feature, Manifest

MOST_COLUMNS = 8
_AS_IT_IS = 96  # pixels of the longer side that are kept to the last
_LARGEST = 160
_QUALITY = 85


class Shower:
    """Shows rows of some samples.

    Args:
        manifest: Says what the inputs are.
        inputs: Arrays by input name.
    """

    def __init__(self, manifest: Manifest, inputs: Arrays) -> None:
        self._values = inputs[manifest.inputs[0].name]
        self._images = manifest.preprocessing is not None
        flat = self._values.ndim == 2 and len(manifest.inputs) == 1 and not self._images
        count = self._values.shape[1] if flat else 0
        named = manifest.features or tuple(Feature(name=f"feature {index + 1}") for index in range(count))
        self._features = named[:MOST_COLUMNS] if flat else ()
        self.columns = tuple(feature.name for feature in self._features)
        self.more_columns = count - len(self._features)

    def show(self, row: int) -> Shown:
        """Show one of them."""
        values = self._values[row]
        return Shown(
            row=int(row) + 1,
            image=image_uri(values) if self._images else None,
            cells=tuple(
                cell_text(float(value), feature)
                for value, feature in zip(values[: len(self._features)], self._features, strict=True)
            )
            if self._features
            else (),
        )


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """Return an image ``(height, width, channels)`` as a ``data:`` URI: a small one bit for bit, others smaller."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    stream = io.BytesIO()
    if max(image.size) <= _AS_IT_IS:
        image.save(stream, "PNG", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
    image.thumbnail((_LARGEST, _LARGEST))
    image.save(stream, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def cell_text(value: float, feature: Feature) -> str:
    """Return what a column says of one sample."""
    if math.isnan(value):
        return "missing"
    if feature.categories and value == int(value) and 0 <= value < len(feature.categories):
        return feature.categories[int(value)]
    return f"{value:,.6g}"
