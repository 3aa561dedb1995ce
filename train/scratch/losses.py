"""The losses by hand, one value per row or element: the mean or the sum is the caller's."""

import torch
from torch import Tensor

from train.scratch.softmax import log_softmax


def squared_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return half the squared error, so that the gradient is the error itself.

    Raises:
        ValueError: the shapes differ.
    """
    return _errors(predictions, targets) ** 2 / 2


def huber_loss(predictions: Tensor, targets: Tensor, *, delta: float = 1.0) -> Tensor:
    """Square errors up to delta, and go on in a straight line; the gradient never exceeds delta.

    Raises:
        ValueError: the shapes differ.
    """
    return delta * smooth_l1_loss(predictions, targets, sigma=delta)


def smooth_l1_loss(predictions: Tensor, targets: Tensor, *, sigma: float = 1.0) -> Tensor:
    """Square errors up to sigma, and go on in a straight line; the gradient never exceeds one.

    Source: this is the formula that the source notes give under Huber's name; it is Huber's loss divided by sigma, so
    that the two agree at sigma 1 only.

    Raises:
        ValueError: the shapes differ.
    """
    error = _errors(predictions, targets).abs()
    return torch.where(error > sigma, error - sigma / 2, error**2 / (2 * sigma))


def cross_entropy(logits: Tensor, class_index: Tensor) -> Tensor:
    """Return how surprising each row's class is, from logits ``(batch, classes)``; ``(batch,)``, in nats."""
    return -log_softmax(logits)[torch.arange(len(logits)), class_index]


def cross_entropy_of_probabilities(probabilities: Tensor, class_index: Tensor) -> Tensor:
    """Return the same from probabilities: infinite as soon as one has been rounded to 0."""
    return -torch.log(probabilities[torch.arange(len(probabilities)), class_index])


def l2_penalty(weight: Tensor) -> Tensor:
    """Return half the squared norm; added to a loss, its gradient is what optimizers call weight decay."""
    return (weight**2).sum() / 2


def _errors(predictions: Tensor, targets: Tensor) -> Tensor:
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions are {list(predictions.shape)}, but targets are {list(targets.shape)}, and both would be "
            "broadcast; reshape one"
        )
    return predictions - targets
