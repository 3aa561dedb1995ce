"""Polynomials of one variable; the powers are made inside the network, so that the graph takes the bare number."""

import torch
from torch import Tensor, nn


class Polynomial(nn.Module):
    """A linear layer over x ** k / k!, k from 0 to the degree.

    Each power is made from the one before, so that neither a large power nor a large factorial is ever held alone.

    Args:
        degree: Highest power; at least 0.

    Shape:
        ``(batch, 1)`` in, ``(batch, 1)`` out.

    Source: notes 000-002, 1.E.
    """

    def __init__(self, *, degree: int) -> None:
        super().__init__()
        if degree < 0:
            raise ValueError(f"degree is {degree}, but at least 0 was expected; give one such as 3")
        self.degree = degree
        self.linear_layer = nn.Linear(degree + 1, 1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the predictions of one batch."""
        powers = [torch.ones_like(inputs)]
        for power in range(1, self.degree + 1):
            powers.append(powers[-1] * inputs / power)
        predictions: Tensor = self.linear_layer(torch.cat(powers, dim=1))
        return predictions


class LegendrePolynomial(nn.Module):
    """A linear layer over Legendre's polynomials, each of mean square one over [-1, 1].

    Steps downhill find a high degree in this basis, and not in that of `Polynomial`, whose columns are nearly parallel.
    Beyond [-1, 1], where nothing was learnt, it stays at the value of the edge: powers there would overflow.

    Args:
        degree: Highest power; at least 1.

    Shape:
        ``(batch, 1)`` in, scaled so that the training rows lie within [-1, 1]; ``(batch, 1)`` out.
    """

    def __init__(self, *, degree: int) -> None:
        super().__init__()
        if degree < 1:
            raise ValueError(f"degree is {degree}, but at least 1 was expected; give one such as 3")
        self.degree = degree
        self.linear_layer = nn.Linear(degree + 1, 1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the predictions of one batch."""
        inside = inputs.clamp(-1, 1)
        terms = [torch.ones_like(inside), inside]
        for power in range(1, self.degree):
            terms.append(((2 * power + 1) * inside * terms[-1] - power * terms[-2]) / (power + 1))
        columns = [(2 * power + 1) ** 0.5 * term for power, term in enumerate(terms)]
        predictions: Tensor = self.linear_layer(torch.cat(columns, dim=1))
        return predictions
