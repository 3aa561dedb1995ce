"""Softmax by hand: as it is written in books, and as it has to be computed."""

import torch
from torch import Tensor


def softmax_naive(logits: Tensor) -> Tensor:
    """Return exponentials over their sum, ``(batch, classes)``; NaN where an exponential overflows."""
    exponentials = torch.exp(logits)
    return exponentials / exponentials.sum(dim=1, keepdim=True)


def softmax(logits: Tensor) -> Tensor:
    """Return the same after moving each row's greatest logit to 0, so that no exponential exceeds 1."""
    return softmax_naive(logits - logits.amax(dim=1, keepdim=True))


def log_softmax(logits: Tensor) -> Tensor:
    """Return the logarithms of softmax without ever forming a probability that could be rounded to 0."""
    shifted = logits - logits.amax(dim=1, keepdim=True)
    return shifted - torch.log(torch.exp(shifted).sum(dim=1, keepdim=True))
