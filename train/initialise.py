"""How weights begin: the initialisers of the source notes."""

from collections.abc import Callable

import torch
from torch import nn


def normal_weights(module: nn.Module, *, std: float) -> None:
    """Draw the weights of linear layers from N(0, std); biases keep torch's default."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std)


def normal_weights_zero_biases(module: nn.Module, *, std: float) -> None:
    """Draw the weights of linear layers from N(0, std) and zero their biases."""
    normal_weights(module, std=std)
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def normal_everything(module: nn.Module, *, std: float) -> None:
    """Draw weights and biases from N(0, std), in the order of ``parameters()``."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)


INITIALISATIONS: dict[str, Callable[[nn.Module], None]] = {
    "default": lambda _: None,
    "normal-0.01": lambda module: normal_weights(module, std=0.01),
    "normal-0.01-zero-bias": lambda module: normal_weights_zero_biases(module, std=0.01),
    "normal-1": lambda module: normal_everything(module, std=1.0),
}


def initialise(module: nn.Module, name: str) -> None:
    """Apply an initialisation by name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in INITIALISATIONS:
        raise ValueError(f"initialisation is {name!r}, but one of {', '.join(INITIALISATIONS)} was expected")
    with torch.no_grad():
        INITIALISATIONS[name](module)
