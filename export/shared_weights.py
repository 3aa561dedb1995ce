"""Copies of a module that are free to change, but do not hold its weights once more."""

import copy

from torch import nn


def copy_sharing_weights(module: nn.Module) -> nn.Module:
    """Copy a module with all that it holds, but for the memory of its parameters, which the copy shares.

    Parameters of the copy can be converted, replaced and asked for gradients; the module's own stay as they are. Only
    what writes into them in place would reach both.
    """
    memo: dict[int, object] = {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
        for parameter in module.parameters()
        if type(parameter) is nn.Parameter  # others, lazy ones say, know themselves how they are copied
    }
    return copy.deepcopy(module, memo)
