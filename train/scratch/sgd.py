"""Training by hand: shuffled batches and the step down the gradient."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor


def batches(rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the rows in random order, a batch of indices at a time; the last may be short."""
    yield from torch.split(torch.randperm(rows, generator=generator), batch_size)


@torch.no_grad()
def sgd_step(parameters: Sequence[Tensor], *, learning_rate: float, rows: int, weight_decay: float = 0.0) -> None:
    """Step against the gradient of a summed loss, and clear it for the next batch.

    Args:
        parameters: Changed in place; every one has a gradient.
        learning_rate: Step size for the mean loss.
        rows: Of this very batch: with the nominal size, the short last batch would step too little.
        weight_decay: Added to the gradient as often as the parameter's own value.

    Raises:
        ValueError: a parameter has no gradient.
    """
    for index, parameter in enumerate(parameters):
        if parameter.grad is None:
            raise ValueError(f"parameter {index} has no gradient; call backward() on a loss that depends on it first")
        parameter -= learning_rate * (parameter.grad / rows + weight_decay * parameter)
        parameter.grad.zero_()


def train_epoch(
    loss: Callable[[Tensor, Tensor], Tensor],
    parameters: Sequence[Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
) -> float:
    """Train for one pass over the rows, and return the mean loss, each batch's taken before its step.

    Args:
        loss: From inputs and targets of a batch to one value per row, by way of the parameters.
        parameters: Changed in place.
        inputs: ``(rows, ...)``.
        targets: ``(rows, ...)``.
        learning_rate: Step size for the mean loss.
        batch_size: Rows per step.
        generator: Of the order.
    """
    total = torch.zeros(())
    for index in batches(len(inputs), batch_size, generator):
        values = loss(inputs[index], targets[index])
        values.sum().backward()  # type: ignore[no-untyped-call]
        sgd_step(parameters, learning_rate=learning_rate, rows=len(index))
        total += values.detach().sum()
    return float(total) / len(inputs)
