"""The first layer of every image model: from the bytes people have to the floats a network takes."""

import torch
from torch import Tensor, nn


class ImageInput(nn.Module):
    """Turn uint8 NHWC images into normalised floating-point NCHW ones.

    Training, the eager reference and every exported graph go through this very module, so they cannot differ in it.

    Args:
        mean: Per-channel mean, of pixel / 255.
        std: Per-channel standard deviation, of pixel / 255.

    Shape:
        ``(batch, height, width, channels)`` uint8 in, ``(batch, channels, height, width)`` out, in the dtype of the
        buffers: float32, or float64 after ``.double()``.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(
                f"mean has {len(mean)} channels, but std has {len(std)}; give one value per channel to both"
            )
        if not all(value > 0 for value in std):
            raise ValueError(f"std is {std}, but every value must be above 0")
        self.identity = not any(mean) and all(value == 1 for value in std)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Convert one batch."""
        pixels = image.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        return pixels if self.identity else (pixels - self.mean) / self.std
