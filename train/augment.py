"""Random changes to training images, so that what people draw and photograph is not new to the network."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

# An augmentation takes and returns uint8 NHWC images, as the graph does, and draws from the generator alone.
Augmentation = Callable[[Tensor, torch.Generator], Tensor]

ROTATION = math.radians(12)
SHEAR = 0.5
SCALE = 0.4
SHIFT = 0.12  # of half the image's side
THICKNESS = 0.7
GAMMA = 0.5


def vary_pen(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, slant, stretch and shift each drawing a little, and change the width and darkness of its strokes.

    Args:
        images: White drawings on black, ``(batch, height, width, 1)``, uint8.
        generator: On the device of the images.

    Returns:
        New images of the same shape and dtype.
    """
    batch = len(images)

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(batch, generator=generator, device=images.device) - 1) * bound

    angle, slant = uniform(ROTATION), uniform(SHEAR)
    stretch_x, stretch_y = uniform(SCALE).exp(), uniform(SCALE).exp()
    shift_x, shift_y = uniform(SHIFT), uniform(SHIFT)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * stretch_x, (slant * cos - sin) * stretch_y, shift_x], dim=1),
        torch.stack([sin * stretch_x, (slant * sin + cos) * stretch_y, shift_y], dim=1),
    ]
    pixels = images.permute(0, 3, 1, 2).float() / 255
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(pixels.shape), align_corners=False)
    pixels = functional.grid_sample(pixels, grid, align_corners=False)

    thickness = uniform(THICKNESS).view(-1, 1, 1, 1)
    thicker = functional.max_pool2d(pixels, kernel_size=3, stride=1, padding=1)
    thinner = -functional.max_pool2d(-pixels, kernel_size=3, stride=1, padding=1)
    pixels = pixels + thickness.clamp(min=0) * (thicker - pixels) + (-thickness).clamp(min=0) * (thinner - pixels)
    pixels = pixels.clamp(0, 1) ** uniform(GAMMA).exp().view(-1, 1, 1, 1)
    return (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def trivial_wide(images: Tensor, generator: torch.Generator) -> Tensor:
    """Apply one operation of one strength to each image, drawn anew: TrivialAugment over its wide range.

    Args:
        images: ``(batch, height, width, channels)``, uint8, one or three channels.
        generator: On the device of the images.

    Returns:
        New images of the same shape and dtype.

    Source: notes 003, S12; TrivialAugmentWide of torchvision, with its 31 strengths.
    """
    from torchvision.transforms import TrivialAugmentWide  # type: ignore[import-untyped]

    augment = TrivialAugmentWide(num_magnitude_bins=31)
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device).item())
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator, on the CPU
        torch.default_generator.manual_seed(seed)
        return torch.stack([augment(image) for image in images.permute(0, 3, 1, 2)]).permute(0, 2, 3, 1)


AUGMENTATIONS: dict[str, Augmentation] = {"vary-pen": vary_pen, "trivial-wide": trivial_wide}
