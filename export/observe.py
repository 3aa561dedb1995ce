"""What a module does while it runs: random operations, half precision, what it reads, and what it gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.operation_modes import ArrayReads, DataReads, HalfOperations, RandomOperations, ValueReads
from export.outside_reads import OutsideReads, global_draws

Outputs = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """One run of a module, and what its parts did that no graph can hold.

    Attributes:
        random: The first random operation of each part that has one, by the part's name.
        data: The parts that read ``.data``.
        half: The first operation in half precision of each part that has one.
        outside: What parts read that is no input, by the part's name: the clock, say.
        draws: Generators of Python's or NumPy's that were drawn from or seeded.
        outputs: What the module gave.
    """

    random: dict[str, str]
    data: tuple[str, ...]
    half: dict[str, str]
    outside: dict[str, str]
    draws: tuple[str, ...]
    outputs: Outputs


def observe(module: nn.Module, inputs: Outputs) -> Observed:
    """Run a module once and watch it."""
    with _named_parts(module) as stack:
        random, reads, outside = RandomOperations(stack), DataReads(stack), OutsideReads(stack)
        half = HalfOperations(stack)
        with torch.no_grad(), random, half, reads, global_draws() as draws, outside.watching():
            outputs: Outputs = module(*inputs)
    return Observed(
        random=random.found,
        data=tuple(dict.fromkeys(reads.found)),
        half=half.found,
        outside=outside.found,
        draws=tuple(draws),
        outputs=outputs,
    )


def value_reads(module: nn.Module, inputs: Outputs, *, choices: bool = True) -> tuple[str, ...]:
    """Name the parts of a module that read values out of what is computed from its inputs: to branch, or to count.

    Args:
        module: It runs once.
        inputs: One batch.
        choices: Whether torch.cond and its like count, which a trace bakes in, and other exporters do not.
    """
    with _named_parts(module) as stack:
        values = ValueReads(stack, inputs)
        with torch.no_grad(), values, ArrayReads(values):
            module(*inputs)
    return tuple(dict.fromkeys([*values.found, *(values.choices if choices else [])]))


@contextmanager
def _named_parts(module: nn.Module) -> Iterator[list[str]]:
    """Keep the names of the parts that are running, outermost first."""
    stack: list[str] = []
    handles = []
    for name, part in module.named_modules():

        def enter(_: nn.Module, __: object, name: str = name) -> None:
            stack.append(name)

        def leave(_: nn.Module, __: object, ___: object) -> None:
            stack.pop()

        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave, always_call=True)]
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()
