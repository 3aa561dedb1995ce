"""Float64 arithmetic in a forward that names float32, or one of whose operators has nothing else."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode, resolve_name

from export.dispatch_mode import DispatchMode
from export.said_dtypes import ANSWERS, NARROW, WIDE, is_own, makes_own, mark, tensors_in

_METHODS: Mapping[Any, Any] = {
    torch.Tensor.float: torch.Tensor.double,
    torch.Tensor.cfloat: torch.Tensor.cdouble,  # type: ignore[attr-defined]
}
_LEGACY = {"torch.FloatTensor", torch.FloatTensor}
# numbers that forward makes a tensor of: rounded to float32 in every graph too, as weights are
_LITERALS = {torch.tensor, torch.full, torch.scalar_tensor, torch.from_numpy}
_IN_PLACE = {f"__i{name}__" for name in ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow", "matmul")}
_EXACT = {"zero_", "fill_", "requires_grad_", "detach_", "resize_", "squeeze_", "unsqueeze_", "t_", "transpose_"}
_NEXT = {torch.nextafter, torch.Tensor.nextafter}
_RUNS = 8
_ULP = 2.0**-23
# what an operator takes from the dtype of its inputs where it is not told: place, name, and value in float32
_LIMITS = torch.finfo(torch.float32)
_EPSILON = ((3, "eps", _LIMITS.eps),)
_ENDS = ((2, "posinf", _LIMITS.max), (3, "neginf", _LIMITS.min))
_UNTOLD: Mapping[Any, tuple[tuple[int, str, float], ...]] = {
    functional.rms_norm: _EPSILON,
    torch.rms_norm: _EPSILON,
    torch.nan_to_num: _ENDS,
    torch.Tensor.nan_to_num: _ENDS,
    torch.Tensor.nan_to_num_: _ENDS,
}


class Float64(TorchFunctionMode):
    """Compute in float64 where forward names float32, as ``x.float()`` and ``torch.zeros(rows, hidden)`` do.

    A network that was turned to float64 by ``.double()`` would fail there: the dtypes of a product must be the same. So
    each tensor of float32 is widened where it is used, whether it is a weight or a constant beside the code. Tensors
    still say of themselves that they are float32, because what forward makes of that is part of the function: the
    smallest number that keeps a norm from zero, or the largest one that stands for what is masked. Those that forward
    itself makes float64 say so.

    Of an operator that has nothing but float32, the mean of several runs stands, on inputs that are off by up to one
    unit in the last place: no better than some of its roundings, but not the very ones that eager makes. What is
    written into a tensor of float32 that is not the module's is rounded there, and the operator named, too.

    Args:
        operators: Widens what Python does not see; entered after this one.
    """

    def __init__(self, operators: "Float64Operators") -> None:
        super().__init__()
        self._operators = operators

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if len(args) == 1 and not kwargs and func in ANSWERS:
            return ANSWERS[func](*args)
        if func in _LITERALS and not any(True for _ in tensors_in((args, kwargs))):
            with self._operators.paused():
                result = func(*args, **kwargs)
            return mark(widen(result), own=result.dtype in NARROW, given=())
        return mark(self._run(func, args, kwargs), own=makes_own(func, args, kwargs), given=(args, kwargs))

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        name = getattr(func, "__name__", "")
        inside = name == "__setitem__" or name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))
        kept = 1 if inside else 0
        given = [*args[:kept], *(widen(value) for value in args[kept:])]
        named = {key: value if key == "out" else widen(value) for key, value in kwargs.items()}
        if any(type(value) is torch.dtype for value in args[1:]) and func is torch.Tensor.view:
            return self._bits(*args)
        if func in _NEXT and not any(map(is_own, tensors_in(args))):
            with self._operators.paused():
                return _next(*given, **named)
        if func is torch.Tensor.type and given[1:] and given[1] in _LEGACY:
            given[1] = torch.float64
        _tell_limits(func, given, named)
        if any(tensor.dtype in WIDE for tensor in tensors_in((given[:kept], named.get("out")))) and name not in _EXACT:
            self._operators.weaken(func, "into a float32 tensor")
        try:
            with _float64_default():
                return widen(_METHODS.get(func, func)(*given, **named))
        except (RuntimeError, TypeError):
            if kept or "out" in named or not any(tensor.dtype in NARROW for tensor in tensors_in((given, named))):
                raise
            with self._operators.paused():
                result = _in_float32(func, given, named)
            self._operators.weaken(func)
            return result

    def _bits(self, tensor: Tensor, dtype: torch.dtype) -> Any:  # noqa: ANN401
        """Return the bits of a tensor as those of another dtype; of float32, for whoever takes them apart."""
        own = is_own(tensor) or (tensor.dtype not in NARROW and dtype in NARROW)
        if dtype == tensor.dtype or (dtype in WIDE and tensor.dtype in NARROW and not own):
            return tensor.view_as(tensor)
        with self._operators.paused():
            narrow = tensor if own else _convert(tensor, NARROW, lambda values: values)
            result = narrow.view(dtype)
        if not own:
            self._operators.weaken(torch.Tensor.view)
        return widen(result)


class Float64Operators(DispatchMode):
    """The same in TorchScript, of which Python sees nothing but its operators.

    Args:
        float32_operators: Takes the names of the operators that have no float64.
    """

    supports_higher_order_operators = True

    def __init__(self, float32_operators: set[str]) -> None:
        super().__init__()
        self._float32_operators = float32_operators
        self._paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if self._paused or not isinstance(func, torch._ops.OpOverload):  # torch.cond, say, runs a branch of Python
            return func(*args, **kwargs)
        written = _written(func)
        given = [value if place in written else widen(value) for place, value in enumerate(args)]
        named = {key: value if key in written else widen(value) for key, value in kwargs.items()}
        with _float64_default():
            return widen(func(*given, **named))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let operators be what they are, for one that needs float32."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def weaken(self, func: Any, how: str = "") -> None:  # noqa: ANN401
        """Note the name of an operator that has no float64."""
        name = (resolve_name(func) or getattr(func, "__name__", "")).removesuffix(".default")
        self._float32_operators.add(f"{name} {how}".strip())


def widen(value: Any) -> Any:  # noqa: ANN401 - whatever an operator takes or gives
    """Return a value with its tensors and dtypes in float64, also those in a list, tuple or dictionary."""
    return _convert(value, WIDE, lambda tensor: tensor)


def _convert(value: Any, dtypes: Mapping[torch.dtype, torch.dtype], change: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        dtype = value.dtype
        return change(value).to(dtypes[dtype]) if dtype in dtypes else value
    if type(value) is torch.dtype:
        return dtypes.get(value, value)
    if isinstance(value, (tuple, list)):
        items = [_convert(item, dtypes, change) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return _like(value, items)
    if type(value) is dict:
        return {key: _convert(item, dtypes, change) for key, item in value.items()}
    return value


def _like(value: tuple[Any, ...] | list[Any], items: list[Any]) -> Any:  # noqa: ANN401
    """Return items as the sequence that they are from, which may name them."""
    make = getattr(value, "_make", type(value))
    return make(items)


@cache
def _written(func: Any) -> frozenset[int | str]:  # noqa: ANN401 - an operator
    """Return the places and names of the arguments that an operator writes into."""
    arguments = [(place, argument) for place, argument in enumerate(func._schema.arguments)]
    written = [(place, argument.name) for place, argument in arguments if argument.is_write]
    return frozenset(key for keys in written for key in keys)


def _tell_limits(func: Any, given: list[Any], named: dict[str, Any]) -> None:  # noqa: ANN401
    """Add what an operator would take from the dtype of its first input, where that is float32 for forward."""
    if func not in _UNTOLD or any(map(is_own, tensors_in((given[:1], named.get("input"))))):
        return
    for place, key, value in _UNTOLD[func]:
        if len(given) > place:
            given[place] = value if given[place] is None else given[place]
        elif named.get(key) is None:
            named[key] = value


def _next(input: Tensor, other: Tensor) -> Tensor:  # noqa: A002 - torch's name
    """Return values moved by one step of float32 towards others."""
    near = input.float()
    return input + (torch.nextafter(near, other.float()).double() - near.double())


@contextmanager
def _float64_default() -> Iterator[None]:
    """Let integers become float64 where they become floats: ``positions / 10000`` is computed, and no literal."""
    before = torch.get_default_dtype()
    if before == torch.float64:
        yield
        return
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _in_float32(func: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the mean of an operator's outputs over runs on inputs that are off by up to one unit in the last place."""
    chance = torch.Generator().manual_seed(0)

    def shake(tensor: Tensor) -> Tensor:
        # every row alike, so that its outputs are the same in any batch
        noise = torch.rand((1, *tensor.shape[1:])[: tensor.ndim], generator=chance, dtype=torch.float64)
        return tensor * (1 + _ULP * (2 * noise - 1))

    runs = [widen(func(*_convert(args, NARROW, shake), **_convert(kwargs, NARROW, shake))) for _ in range(_RUNS)]
    return _mean(runs)


def _mean(runs: Iterable[Any]) -> Any:  # noqa: ANN401
    first, *others = runs
    if isinstance(first, Tensor):
        return torch.stack([first, *others]).mean(dim=0) if first.dtype in NARROW else first
    if isinstance(first, (tuple, list)):
        return _like(first, [_mean(parts) for parts in zip(first, *others, strict=True)])
    return first
