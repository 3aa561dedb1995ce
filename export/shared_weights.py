"""Copies of a module that are free to change, but do not hold its weights once more."""

import copy
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from export.errors import ExportError
from export.first_line import first_line
from export.held_tensors import part_name


def copy_whole(module: nn.Module) -> nn.Module:
    """Copy a module with all that it holds; tensors that it computed and kept lose their history, as below."""
    return _copy(module, _detached(module))


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
    return _copy(module, memo)


def _copy(module: nn.Module, memo: dict[int, object]) -> nn.Module:
    known = dict(memo)
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:  # whatever the things that a module holds do when they are copied
        raise ExportError(
            f"{_not_copied(module, known)} cannot be copied ({first_line(error)}), but what "
            "is exported is a copy, so that the network stays as it is; take it off the network before the export"
        ) from error


def _not_copied(module: nn.Module, memo: dict[int, object]) -> str:
    """Name the attribute that cannot be copied, hooks by themselves."""
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute != "_modules":
                try:
                    copy.deepcopy(value, dict(memo))
                except Exception:  # noqa: BLE001 - as above; it is told by the caller
                    if attribute.endswith("_hooks"):
                        return f"a hook on {part_name(module, name)}"
                    return f"{attribute} of {part_name(module, name)}"
    return part_name(module, "")


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
