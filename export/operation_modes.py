"""What watches a module's operations: chance, half precision, ``.data``, and values that leave torch."""

from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from export.dispatch_mode import DispatchMode

_READ_DATA = vars(torch._C.TensorBase)["data"].__get__  # what torch passes on when ``tensor.data`` is read


class RandomOperations(DispatchMode):
    """Notes each operation that draws from torch's generator, and the part of the network that calls it."""

    supports_higher_order_operators = True  # torch.cond, say; what it runs inside runs without this mode

    def __init__(self, stack: list[str]) -> None:
        super().__init__()
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


class HalfOperations(DispatchMode):
    """Notes each part of a network that computes in half precision; what it only rounds to it does not count."""

    supports_higher_order_operators = True
    _ROUNDS = frozenset({"_to_copy", "copy_", "clone", "detach", "lift_fresh"})

    def __init__(self, stack: list[str]) -> None:
        super().__init__()
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


class DataReads(TorchFunctionMode):
    """Notes the parts of a network that read a tensor's ``.data``."""

    def __init__(self, stack: list[str]) -> None:
        super().__init__()
        self.stack = stack
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func == _READ_DATA:
            self.found.append(self.stack[-1] if self.stack else "")
        return func(*args, **(kwargs or {}))


class ValueReads(DispatchMode):
    """Notes the parts of a network that turn values computed from its inputs into Python's, or into sizes.

    Sizes of the inputs are no tensors here, and what is read of weights and constants is the same each time.
    """

    supports_higher_order_operators = True  # torch.cond, say
    _READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)

    def __init__(self, stack: list[str], inputs: tuple[Tensor, ...]) -> None:
        super().__init__()
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
        """Return whether a tensor is an input, or computed from one."""
        return id(tensor) in self._derived

    def note(self) -> None:
        """Note the part that is running."""
        self.found.append(self.stack[-1] if self.stack else "")


class ArrayReads(TorchFunctionMode):
    """Notes with another mode what leaves torch in one piece."""

    _READS = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__)

    def __init__(self, values: ValueReads) -> None:
        super().__init__()
        self.values = values

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func in self._READS and self.values.is_derived(args[0]):
            self.values.note()
        return func(*args, **(kwargs or {}))
