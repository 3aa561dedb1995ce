"""Convolution and pooling by hand: as many shifted copies of the image as the window has places."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional


def convolve(images: Tensor, kernel: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    """Slide a kernel over images; it is not flipped, so this is cross-correlation, as in every deep-learning library.

    Args:
        images: ``(batch, channels, height, width)``.
        kernel: ``(channels out, channels, height, width)``.
        bias: ``(channels out,)``.
        stride: Pixels from one place of the kernel to the next.
        padding: Zeros added at each edge.

    Raises:
        ValueError: the kernel is larger than the padded image, or has other channels.
    """
    if images.shape[1] != kernel.shape[1]:
        raise ValueError(f"images have {images.shape[1]} channels, but the kernel takes {kernel.shape[1]}")
    padded = functional.pad(images, (padding, padding, padding, padding))
    height, width = kernel.shape[2:]
    shifted = _shifted(padded, height, width, stride)
    weights = (kernel[:, :, row, column] for row in range(height) for column in range(width))
    products = [torch.einsum("bchw,oc->bohw", part, weight) for part, weight in zip(shifted, weights, strict=True)]
    return torch.stack(products).sum(dim=0) + bias[:, None, None]


def max_pool(images: Tensor, *, size: int, stride: int | None = None) -> Tensor:
    """Keep the greatest value of each window ``size x size``; only that one gets a gradient.

    Raises:
        ValueError: the window is larger than the image.
    """
    return torch.stack(list(_shifted(images, size, size, stride or size))).max(dim=0).values


def average_pool(images: Tensor, *, size: int, stride: int | None = None) -> Tensor:
    """Keep the mean of each window ``size x size``.

    Raises:
        ValueError: the window is larger than the image.
    """
    return torch.stack(list(_shifted(images, size, size, stride or size))).mean(dim=0)


def _shifted(images: Tensor, height: int, width: int, stride: int) -> Iterator[Tensor]:
    """Yield, for each place in the window, the pixel there of every window."""
    down, across = images.shape[2] - height, images.shape[3] - width
    if down < 0 or across < 0:
        raise ValueError(
            f"the window is {height}x{width}, but the image is only {images.shape[2]}x{images.shape[3]}; "
            "use a smaller window or padding"
        )
    for row in range(height):
        for column in range(width):
            yield images[:, :, row : row + down + 1 : stride, column : column + across + 1 : stride]
