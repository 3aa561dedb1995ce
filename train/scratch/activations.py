"""The activations by hand: what torch computes, in operations that autograd differentiates."""

import torch
from torch import Tensor


def relu(x: Tensor) -> Tensor:
    """Keep what is positive; the gradient at exactly 0 is 0, as in torch (``maximum(x, 0)`` would give a half)."""
    return torch.where(x > 0, x, torch.zeros_like(x))


def sigmoid(x: Tensor) -> Tensor:
    """Map to (0, 1); each half uses the form of the formula whose exponential cannot overflow there."""
    zeros = torch.zeros_like(x)
    shrinking = torch.exp(-torch.where(x >= 0, x, zeros))  # clamp would have no gradient at exactly 0
    growing = torch.exp(torch.where(x < 0, x, zeros))
    return torch.where(x >= 0, 1 / (1 + shrinking), growing / (1 + growing))


def tanh(x: Tensor) -> Tensor:
    """Map to (-1, 1): a sigmoid twice as steep and twice as high, moved down by one."""
    return 2 * sigmoid(2 * x) - 1
