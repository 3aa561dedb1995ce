"""What a module does while it runs: which part gives what, which random operations, which gradients."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from export.outside_reads import OutsideReads, global_draws

Outputs = tuple[Tensor, ...]

_READ_DATA = vars(torch._C.TensorBase)["data"].__get__  # what torch passes on when ``tensor.data`` is read


class _RandomOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operation that draws from torch's generator, and the part of the network that calls it."""

    supports_higher_order_operators = True  # torch.cond, say; what it runs inside runs without this mode

    def __init__(self, stack: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack = stack
        self.found: dict[str, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        higher = isinstance(func, HigherOrderOperator)
        if not higher and torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        state = torch.get_rng_state()
        result = func(*args, **(kwargs or {}))
        # attention has the tag, too, and draws nothing where its dropout is 0
        own = (kwargs or {}).get("generator") is not None
        if own or not torch.equal(state, torch.get_rng_state()):
            name = func.name() if higher else func.overloadpacket.__name__
            self.found.setdefault(self.stack[-1] if self.stack else "", name)
        return result


class _HalfOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each part of a network that computes in half precision; what it only rounds to it does not count."""

    supports_higher_order_operators = True
    _ROUNDS = frozenset({"_to_copy", "copy_", "clone", "detach", "lift_fresh"})

    def __init__(self, stack: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack = stack
        self.found: dict[str, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        if not isinstance(func, HigherOrderOperator) and not func.is_view:
            name = func.overloadpacket.__name__
            kinds = {leaf.dtype for leaf in tree_leaves(result) if isinstance(leaf, Tensor)}
            for kind in kinds & {torch.float16, torch.bfloat16}:
                if name not in self._ROUNDS:
                    part = self.stack[-1] if self.stack else ""
                    self.found.setdefault(part, f"{name} in {str(kind).removeprefix('torch.')}")
        return result


class _DataReads(TorchFunctionMode):
    """Notes the parts of a network that read a tensor's ``.data``."""

    def __init__(self, stack: list[str]) -> None:
        super().__init__()
        self.stack = stack
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func == _READ_DATA:
            self.found.append(self.stack[-1] if self.stack else "")
        return func(*args, **(kwargs or {}))


class _ValueReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the parts of a network that turn values computed from its inputs into Python's, or into sizes.

    Sizes of the inputs are no tensors here, and what is read of weights and constants is the same each time.
    """

    supports_higher_order_operators = True  # torch.cond, say
    _READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)

    def __init__(self, stack: list[str], inputs: Outputs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack = stack
        self.found: list[str] = []
        self.choices: list[str] = []
        self._derived = {id(tensor): tensor for tensor in inputs}  # kept, so that no other tensor gets their place

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        given = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        higher = isinstance(func, HigherOrderOperator)
        derived = any(map(self.is_derived, given))
        if higher:
            self.choices.append(self.stack[-1] if self.stack else "")
        elif derived and (func in self._READS or torch.Tag.dynamic_output_shape in func.tags):
            self.note()
        result = func(*args, **(kwargs or {}))
        if derived:
            written = given if not higher and func._schema.is_mutable else []
            self._derived |= {id(leaf): leaf for leaf in (*tree_leaves(result), *written) if isinstance(leaf, Tensor)}
        return result

    def is_derived(self, tensor: Tensor) -> bool:
        return id(tensor) in self._derived

    def note(self) -> None:
        self.found.append(self.stack[-1] if self.stack else "")


class _ArrayReads(TorchFunctionMode):
    """Notes with another mode what leaves torch in one piece."""

    _READS = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__)

    def __init__(self, values: _ValueReads) -> None:
        super().__init__()
        self.values = values

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func in self._READS and self.values.is_derived(args[0]):
            self.values.note()
        return func(*args, **(kwargs or {}))


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
        random, reads, outside = _RandomOperations(stack), _DataReads(stack), OutsideReads(stack)
        half = _HalfOperations(stack)
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
        values = _ValueReads(stack, inputs)
        with torch.no_grad(), values, _ArrayReads(values):
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


def unreached_parameters(module: nn.Module, inputs: Outputs) -> tuple[str, ...]:
    """Name the parameters that change the outputs, but that no gradient reaches; none where torch has no gradients.

    Args:
        module: Changed in place: give a copy. The memory of its parameters is not written to.
        inputs: One batch.
    """
    parameters = {name: tensor for name, tensor in module.named_parameters() if tensor.is_floating_point()}
    reached = set[int]()

    def note(parameter: Tensor) -> None:
        reached.add(id(parameter))
        parameter.grad = None  # at once: all of them together would be as large as the weights

    for parameter in parameters.values():
        parameter.requires_grad_().register_post_accumulate_grad_hook(note)  # type: ignore[no-untyped-call]
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a network does with its gradients; here none are used
            outputs: Outputs = module(*inputs)
            sums = [output.sum() for output in outputs if output.requires_grad]
            if sums:
                sum(sums[1:], sums[0]).backward()  # type: ignore[no-untyped-call]
    except RuntimeError:  # an operation without a gradient; what cannot be trained is no fault of an export
        return ()
    expected = [output.detach() for output in outputs]
    silent = {name: parameter for name, parameter in parameters.items() if id(parameter) not in reached}
    return tuple(name for name, parameter in silent.items() if _matters(module, inputs, expected, parameter))


def _matters(module: nn.Module, inputs: Outputs, expected: list[Tensor], parameter: Tensor) -> bool:
    """Return whether other values of a parameter give other outputs."""
    kept = parameter.data
    try:
        parameter.data = kept * 1.5 + 0.25
        with torch.no_grad():
            outputs: Outputs = module(*inputs)
    finally:
        parameter.data = kept
    return not all(torch.equal(one, other) for one, other in zip(expected, outputs, strict=True))
