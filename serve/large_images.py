"""Decode image files: small ones as they come, large ones one at a time, or a few of them would fill the memory."""

import threading

import numpy as np
from numpy.typing import NDArray

from serve.bundle import ImagePreprocessing
from serve.preprocess import ImageTooLargeError, prepare_bytes

SMALL_PIXELS = 4_000_000
_LARGE = threading.Lock()  # of the whole process: a large image may take a gigabyte


def prepare_in_turn(
    data: bytes, spec: ImagePreprocessing, *, max_pixels: int, small_pixels: int = SMALL_PIXELS
) -> NDArray[np.uint8]:
    """Decode and prepare an image file; where it is large, once no other large one is being decoded.

    Args:
        data: The file's bytes.
        spec: What the model takes.
        max_pixels: Largest width x height that is decoded.
        small_pixels: Largest width x height of a small image.

    Returns:
        The image, ``(height, width, channels)``.

    Raises:
        ImageError: the bytes are no image that can be read.
        ImageTooLargeError: it has more pixels than the cap.
    """
    try:
        return prepare_bytes(data, spec, max_pixels=min(small_pixels, max_pixels))
    except ImageTooLargeError:  # known from the header alone
        if max_pixels <= small_pixels:
            raise
    with _LARGE:
        return prepare_bytes(data, spec, max_pixels=max_pixels)
