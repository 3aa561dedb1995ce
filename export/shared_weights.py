"""Copies of a module that are free to change, but do not hold its weights once more."""

import copy
from collections.abc import Iterator, Mapping

from torch import Tensor, nn


def copy_whole(module: nn.Module) -> nn.Module:
    """Copy a module with all that it holds; tensors that it computed and kept lose their history, as below."""
    return copy.deepcopy(module, _detached(module))


def copy_sharing_weights(module: nn.Module) -> nn.Module:
    """Copy a module with all that it holds, but for the memory of its parameters, which the copy shares.

    Parameters of the copy can be converted, replaced and asked for gradients; the module's own stay as they are. Only
    what writes into them in place would reach both. Tensors that it computed and kept (`weight_norm` does, and so do
    caches) lose their history, with which torch copies none.
    """
    memo = _detached(module)
    memo |= {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
        for parameter in module.parameters()
        if type(parameter) is nn.Parameter  # others, lazy ones say, know themselves how they are copied
    }
    return copy.deepcopy(module, memo)


def _detached(module: nn.Module) -> dict[int, object]:
    return {id(tensor): tensor.detach().clone() for tensor in _computed(module)}


def _computed(module: nn.Module) -> Iterator[Tensor]:
    """Return the tensors that parts of a module keep and that a computation with gradients made."""
    seen = set[int]()
    places: list[object] = [vars(part) for part in module.modules()]
    while places:
        value = places.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if not value.is_leaf:
                yield value
        elif isinstance(value, Mapping):
            places.extend(value.values())
        elif isinstance(value, (list, tuple, set)):
            places.extend(value)
