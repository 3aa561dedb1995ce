"""How much work a network is: its floating-point operations, counted and not timed."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils.flop_counter import FlopCounterMode

from export.dispatch_mode import DispatchMode


def flops_per_row(module: nn.Module, example: tuple[Tensor, ...]) -> int:
    """Run a module and count the operations of its products: the same number on every machine, and every time.

    A multiplication and an addition are two operations. Only products count: those of convolutions, matrices,
    attention and recurrent layers. What works element by element is left out, as in every published count.

    Args:
        module: In evaluation mode, on the CPU.
        example: One batch of each input, ``(rows, …)``; one row is enough.
    """
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _recurrent_flops})
    fast = torch.backends.mha.get_fastpath_enabled()  # one operation for a whole layer, which nothing counts
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            total = _flops(counter, module, example)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return total // len(example[0])


def _flops(counter: FlopCounterMode, module: nn.Module, example: tuple[Tensor, ...]) -> int:
    module(*example)  # see `DispatchMode`
    products = _Products(counter.flop_registry)
    with products:
        module(*example)
    if not products.has_higher_order:
        return products.flops
    try:
        with counter:
            module(*example)
    except TypeError:  # of torch.while_loop, whose steps nobody knows beforehand, it knows nothing (torch 2.15)
        return products.flops
    return int(counter.get_total_flops())


class _Products(DispatchMode):
    """Sums up the operations of products by torch's formulas; to enter its own counter imports the compiler.

    Attributes:
        flops: The sum.
        has_higher_order: Whether there was an operator that runs others, as `torch.cond` does; those are not counted.
    """

    supports_higher_order_operators = True

    def __init__(self, formulas: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self.flops = 0
        self.has_higher_order = False
        self._formulas = formulas

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):
            self.has_higher_order = True
            return func(*args, **kwargs)
        formula = self._formulas.get(func.overloadpacket)
        if formula is None:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=result))
        return result


def _recurrent_flops(
    inputs: tuple[int, ...], weights: tuple[int, ...], hidden_weights: tuple[int, ...], *_: object, **__: object
) -> int:
    """Return the operations of one layer of an LSTM: of each step of each row, two products for all of its gates."""
    steps, rows, _features = inputs
    return 2 * steps * rows * (weights[0] * weights[1] + hidden_weights[0] * hidden_weights[1])
