"""The line of the source notes' linear regression: its data, and training by hand on it."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from train.scratch.models import linear_regression
from train.scratch.sgd import batches

TRUE_WEIGHT = (2.0, -3.4)
TRUE_BIAS = 4.2
NOISE = 0.01
BATCH = 10

Reduced = Callable[[Tensor, Tensor], Tensor]


def make_line(rows: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return inputs ``(rows, 2)`` from N(0, 1) and targets ``(rows, 1)`` with a little noise, float64."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, 2, dtype=torch.float64, generator=generator)
    weight = torch.tensor(TRUE_WEIGHT, dtype=torch.float64)[:, None]
    noise = NOISE * torch.randn(rows, 1, dtype=torch.float64, generator=generator)
    return inputs, inputs @ weight + TRUE_BIAS + noise


def fit_line(
    data: tuple[Tensor, Tensor], loss: Reduced, *, learning_rate: float, epochs: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train by SGD in batches of 10 from N(0, 0.01), and yield weight and bias after every epoch."""
    inputs, targets = data
    generator = torch.Generator().manual_seed(seed)
    weight = (0.01 * torch.randn(2, 1, dtype=torch.float64, generator=generator)).requires_grad_()
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for _ in range(epochs):
        for index in batches(len(inputs), BATCH, generator):
            value = loss(linear_regression(inputs[index], weight, bias), targets[index])
            gradients = torch.autograd.grad(value, (weight, bias))
            with torch.no_grad():
                weight -= learning_rate * gradients[0]
                bias -= learning_rate * gradients[1]
        yield weight.detach().clone(), bias.detach().clone()


def fit_lines(
    data: Sequence[tuple[Tensor, Tensor]], loss: Reduced, *, learning_rate: float, epochs: int, seeds: Sequence[int]
) -> Iterator[Tensor]:
    """Train as `fit_line` does from many seeds at once: hardly slower than from one.

    Args:
        data: Of each seed.
        loss: Value by value: not reduced.
        learning_rate: Of all.
        epochs: Passes over the rows.
        seeds: As many as data sets.

    Yields:
        After every epoch `line_error` of each seed, ``(seeds,)``.
    """
    inputs, targets = (torch.stack(part) for part in zip(*data, strict=True))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    weight = torch.stack([0.01 * torch.randn(2, 1, dtype=torch.float64, generator=each) for each in generators])
    weight.requires_grad_()
    bias = torch.zeros(len(seeds), 1, 1, dtype=torch.float64, requires_grad=True)
    each_seed = torch.arange(len(seeds))[:, None]
    true = torch.tensor([*TRUE_WEIGHT, TRUE_BIAS], dtype=torch.float64)
    for _ in range(epochs):
        order = torch.stack([torch.randperm(inputs.shape[1], generator=each) for each in generators])
        for index in torch.split(order, BATCH, dim=1):
            values = loss(linear_regression(inputs[each_seed, index], weight, bias), targets[each_seed, index])
            gradients = torch.autograd.grad(values.mean(dim=1).sum(), (weight, bias))
            with torch.no_grad():
                weight -= learning_rate * gradients[0]
                bias -= learning_rate * gradients[1]
        learnt = torch.cat([weight.detach().flatten(1), bias.detach().flatten(1)], dim=1)
        yield (learnt - true).abs().amax(dim=1)


def line_error(weight: Tensor, bias: Tensor) -> float:
    """Return the greatest distance of a parameter from the true one."""
    learnt = torch.cat([weight.flatten(), bias])
    return float((learnt - torch.tensor([*TRUE_WEIGHT, TRUE_BIAS], dtype=torch.float64)).abs().max())
