"""Which part of a module is the first that makes something else of the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.observe import Outputs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Call:
    """What one part was given, and gave: its tensors, where they come bare."""

    name: str
    inputs: Outputs
    outputs: Outputs


@contextmanager
def _recording(module: nn.Module) -> Iterator[list[_Call]]:
    """Record the calls of each part of a module, in the order in which they end."""
    record: list[_Call] = []
    handles = []
    for name, part in module.named_modules():

        def note(_: nn.Module, given: object, result: object, name: str = name) -> None:
            record.append(_Call(name=name, inputs=_tensors(given), outputs=_tensors(result)))

        handles.append(part.register_forward_hook(note))
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: object) -> Outputs:
    items = value if isinstance(value, (tuple, list)) else (value,)
    return tuple(item.detach().clone() for item in items if isinstance(item, Tensor))


def first_difference(module: nn.Module, one: Outputs, other: Outputs, *, same: Callable[[Tensor, Tensor], bool]) -> str:
    """Run a module on two inputs and name the first part that makes something else of the same.

    Returns:
        Its name within the module; empty where that is the module itself, or none is to be found.
    """
    records: list[list[_Call]] = []
    for inputs in (one, other):
        with torch.no_grad(), _recording(module) as record:
            module(*inputs)
        records.append(record)
    for left, right in zip(records[0], records[1], strict=False):
        if all(map(same, left.inputs, right.inputs)) and not all(map(same, left.outputs, right.outputs)):
            return left.name
    return ""
