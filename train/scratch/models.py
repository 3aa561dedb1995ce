"""The models by hand: plain functions of inputs and parameters."""

import torch
from torch import Tensor

from train.scratch.activations import relu


def linear_regression(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return predictions ``(batch, targets)`` of inputs ``(batch, features)`` and weight ``(features, targets)``."""
    return inputs @ weight + bias


def softmax_regression(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return logits ``(batch, classes)`` of inputs ``(batch, ...)``; softmax belongs into the loss."""
    return inputs.reshape(len(inputs), -1) @ weight + bias


def mlp(inputs: Tensor, hidden: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> Tensor:
    """Return the logits of one hidden layer; each layer is its weight ``(features in, features out)`` and bias."""
    activations = relu(softmax_regression(inputs, *hidden))
    return activations @ output[0] + output[1]


def dropout(x: Tensor, *, probability: float, training: bool, generator: torch.Generator | None = None) -> Tensor:
    """Zero each value by chance and enlarge the rest, so that the mean stays; do nothing outside training.

    Raises:
        ValueError: the probability is not within [0, 1].
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}, but a number from 0 to 1 was expected")
    if not training or probability == 0:
        return x
    if probability == 1:
        return torch.zeros_like(x)
    kept = torch.rand(x.shape, dtype=x.dtype, generator=generator) >= probability
    return x * kept / (1 - probability)
