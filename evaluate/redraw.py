"""PyTorch's own rounding, drawn again: what eager's error on a row is with ordinary luck.

Of a row near a pole, or whose scores are tied, the error of any float32 computation is what that row makes of rounding
times luck. Eager's error is one draw, which may be zero; a right graph's is another one. So each operation of the
network is computed in float64 from float32 values and rounded to float32 up or down at random, again and again. What
is exact, as ReLU, a maximum or a view is, stays exact; sums and products of matrices, which round on the way as well,
begin with operands that are a little off. Where `topk` or `sort` find equal values, which
of them comes first is drawn, too, as PyTorch promises nothing there.

Source: stochastic arithmetic as in CESTAC (Vignes 1993) and Monte Carlo arithmetic (Parker 1997).
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from export.module_runner import run_batches
from serve.runner import Runner

Outputs = dict[str, NDArray[Any]]
Ties = Literal["any", "first", "last"]

DRAWS = 8
_HALF_ULP = 2.0**-24
_aten = torch.ops.aten
# which operands of these are multiplied and added up; their partial sums are rounded, too. In units of 2^-24 times the
# root of the sum of squared products, PyTorch's error was measured as 0.31 times the root of their number, up to 3.5 (8
# to 2,048 products, batches of 1 to 64, linear layers and convolutions); as much comes from sqrt(3/2) times that in
# either operand
_PRODUCTS = {
    _aten.mm: (0, 1), _aten.addmm: (1, 2), _aten.bmm: (0, 1), _aten.baddbmm: (1, 2), _aten.addbmm: (1, 2),
    _aten.mv: (0, 1), _aten.addmv: (1, 2), _aten.dot: (0, 1), _aten.convolution: (0, 1),
}  # fmt: skip
_PER_ROOT, _MOST = 0.38, 4.3
# PyTorch adds these in pairs
_SUMS = {_aten.sum, _aten.mean, _aten.cumsum}
# which of equal values is given is nobody's promise; of argmax and max it is, the first
_ORDERS = {_aten.topk, _aten.sort}
_NOT_COMPUTED = {_aten._to_copy, _aten.clone}


class RandomRounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Rounds what float32 operations give to one of the two nearest numbers, at random.

    Args:
        seed: Decides which; None rounds as PyTorch does.
        ties: Which of equal values `topk` and `sort` give first: any, or that of the lowest or of the highest index.
    """

    supports_higher_order_operators = True  # torch.cond, say; what it runs inside runs without this mode

    def __init__(self, seed: int | None, *, ties: Ties = "any") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._random = torch.Generator().manual_seed(seed or 0)
        self._rounds = seed is not None
        self._ties = ties

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        given = dict(kwargs or {})
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **given)
        packet = func.overloadpacket
        if packet in _ORDERS and not given.get("stable", False):
            return self._order(func, args, given)
        with self:
            parts = func.decompose(*args, **given)  # a layer's, as what is composed of others is one here
        if parts is not NotImplemented:
            return parts
        if not self._rounds:
            return func(*args, **given)
        tensors = [value for value in tree_leaves((args, given)) if isinstance(value, Tensor)]
        dtypes = {value.dtype for value in tensors} | {given.get("dtype")}
        computes = torch.float32 in dtypes and torch.float64 not in dtypes and packet not in _NOT_COMPUTED
        if not computes or any(argument.alias_info is not None for argument in func._schema.arguments):
            return func(*args, **given)
        wide_args, wide_given = tree_map_only(Tensor, _widen, (args, given))
        wide_args = self._with_noise(packet, wide_args)
        if wide_given.get("dtype") == torch.float32:
            wide_given["dtype"] = torch.float64
        with suppress(RuntimeError, NotImplementedError):
            return tree_map_only(Tensor, self._narrow, func(*wide_args, **wide_given))
        return func(*args, **given)  # there is no such operation in float64

    def _with_noise(self, packet: object, args: Any) -> Any:  # noqa: ANN401
        """Return the operands of what adds up as far off as the rounding of partial sums makes them."""
        places: tuple[int, ...]
        if packet in _SUMS:
            places, size = (0,), 1.0
        elif packet in _PRODUCTS:
            places = _PRODUCTS[packet]
            first, second = (args[place] for place in places)
            products = second[0].numel() if packet is _aten.convolution else first.shape[-1]
            size = min(_PER_ROOT * math.sqrt(products), _MOST)
        else:
            return args
        return tuple(
            value * (1 + size * _HALF_ULP * self._uniform(value)) if index in places else value
            for index, value in enumerate(args)
        )

    def _narrow(self, value: Tensor) -> Tensor:
        if value.dtype != torch.float64:
            return value
        near = value.to(torch.float32)
        size = near.abs()
        step = (torch.nextafter(size, torch.full_like(size, torch.inf)) - size).to(torch.float64)
        drawn = (value + step * self._uniform(value) / 2).to(torch.float32)
        exact = (near.to(torch.float64) == value) | ~torch.isfinite(near)
        return torch.where(exact, near, drawn)

    def _uniform(self, like: Tensor) -> Tensor:
        """Draw numbers between -1 and 1."""
        return torch.rand(like.shape, dtype=torch.float64, generator=self._random) * 2 - 1

    def _order(self, func: Any, args: Any, given: dict[str, Any]) -> Any:  # noqa: ANN401
        """Sort values whose order was changed before, so that equal ones come as they are wanted."""
        arguments = func._schema.arguments
        bound = {argument.name: argument.default_value for argument in arguments}
        bound |= dict(zip((argument.name for argument in arguments), args, strict=False)) | given
        values, dim = bound["self"], bound["dim"]
        if values.ndim == 0:
            return func(*args, **given)
        order = torch.arange(values.shape[dim]).view(-1, *(1 for _ in range(values.ndim - 1))).movedim(0, dim)
        order = order.expand(values.shape)
        if self._ties == "any":
            order = torch.rand(values.shape, generator=self._random).argsort(dim=dim)
        elif self._ties == "last":
            order = order.flip(dim)
        descending = bound["largest"] if "largest" in bound else bound["descending"]
        found, places = values.gather(dim, order).sort(dim=dim, descending=descending, stable=True)
        wanted = bound.get("k", values.shape[dim])
        return found.narrow(dim, 0, wanted), order.gather(dim, places).narrow(dim, 0, wanted)


def _widen(value: Tensor) -> Tensor:
    return value.to(torch.float64) if value.dtype == torch.float32 else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Outputs of the same rows, drawn again and again; nothing where the network cannot be run this way.

    Attributes:
        rounded: With other rounding, and any of equal values first.
        ordered: Rounded as PyTorch does, with that of the lowest index first, and with that of the highest.
    """

    rounded: list[Outputs]
    ordered: list[Outputs]


class Redraw:
    """Draws what PyTorch gives for rows, when it is asked for the first time.

    Args:
        draw: Gives the outputs of all rows.
        index: Which of the rows are wanted, and how often; None means all.
    """

    def __init__(self, draw: Callable[[], Drawn], index: NDArray[np.int64] | None = None) -> None:
        self._draw = draw
        self._index = index

    def drawn(self) -> Drawn:
        """Return the outputs of every draw."""
        found = self._draw()
        if self._index is None:
            return found
        rounded, ordered = (
            [{name: values[self._index] for name, values in outputs.items()} for outputs in draws]
            for draws in (found.rounded, found.ordered)
        )
        return Drawn(rounded=rounded, ordered=ordered)

    def of(self, index: NDArray[np.int64]) -> "Redraw":
        """Return what draws some of the rows, each as in its first company."""
        return Redraw(self._draw, index)


def redraw_of(eager: Runner, inputs: Mapping[str, NDArray[Any]], *, batch_size: int) -> Redraw | None:
    """Return what draws PyTorch's answers to rows again, if they can be run in batches.

    Args:
        eager: The module in float32.
        inputs: The rows.
        batch_size: Rows of one run.
    """
    if batch_size == 1:
        return None

    def outputs(mode: RandomRounding) -> Outputs:
        with mode:
            return run_batches(eager, inputs, batch_size=batch_size)

    @cache
    def draw() -> Drawn:
        # a script, say, may have no operations to round
        with suppress(RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError):
            return Drawn(
                rounded=[outputs(RandomRounding(seed)) for seed in range(1, DRAWS + 1)],
                ordered=[outputs(RandomRounding(None, ties=ties)) for ties in ("first", "last")],
            )
        return Drawn(rounded=[], ordered=[])

    return Redraw(draw)
