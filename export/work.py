"""How much work a network is: its floating-point operations, counted and not timed."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def flops_per_row(module: nn.Module, example: tuple[Tensor, ...]) -> int:
    """Run a module once and count the operations of its products: the same number on every machine, and every time.

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
        with torch.random.fork_rng(devices=[]), torch.no_grad(), counter:
            module(*example)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops()) // len(example[0])


def _recurrent_flops(
    inputs: tuple[int, ...], weights: tuple[int, ...], hidden_weights: tuple[int, ...], *_: object, **__: object
) -> int:
    """Return the operations of one layer of an LSTM: of each step of each row, two products for all of its gates."""
    steps, rows, _features = inputs
    return 2 * steps * rows * (weights[0] * weights[1] + hidden_weights[0] * hidden_weights[1])
