"""Float64 arithmetic in a forward that names float32, or one of whose operators has nothing else."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode

_WIDE = {torch.float32: torch.float64, torch.complex64: torch.complex128}
_NARROW = {wide: narrow for narrow, wide in _WIDE.items()}
_METHODS: Mapping[Any, Any] = {
    torch.Tensor.float: torch.Tensor.double,
    torch.Tensor.cfloat: torch.Tensor.cdouble,  # type: ignore[attr-defined]
}
_LEGACY = {"torch.FloatTensor", torch.FloatTensor}
# numbers in the code: rounded to float32 in every graph too, as weights are
_LITERALS = {torch.tensor, torch.full, torch.scalar_tensor, torch.from_numpy}
_DTYPE_OF = torch.Tensor.dtype.__get__  # type: ignore[attr-defined]
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
    smallest number that keeps a norm from zero, or the largest one that stands for what is masked.

    Of an operator that has nothing but float32, the mean of several runs stands, on inputs that are off by up to one
    unit in the last place: no better than some of its roundings, but not the very ones that eager makes.

    Args:
        float32_operators: Takes the names of the operators that have no float64.
    """

    def __init__(self, float32_operators: set[str]) -> None:
        super().__init__()
        self._float32_operators = float32_operators

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if func == _DTYPE_OF:
            dtype = func(*args)
            return _NARROW.get(dtype, dtype)
        if func in _LITERALS and not any(True for _ in _tensors((args, kwargs))):
            return widen(func(*args, **kwargs))
        name = getattr(func, "__name__", "")
        kept = 1 if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) else 0
        given = [*args[:kept], *(widen(value) for value in args[kept:])]
        named = {key: value if key == "out" else widen(value) for key, value in kwargs.items()}
        if func is torch.Tensor.type and given[1:] and given[1] in _LEGACY:
            given[1] = torch.float64
        for place, key, value in _UNTOLD.get(func, ()):
            if len(given) > place:
                given[place] = value if given[place] is None else given[place]
            elif named.get(key) is None:
                named[key] = value
        try:
            with _float64_default():
                return widen(_METHODS.get(func, func)(*given, **named))
        except (RuntimeError, TypeError):
            if kept or "out" in named or not any(tensor.dtype in _NARROW for tensor in _tensors((given, named))):
                raise
            result = _in_float32(func, given, named)
            self._float32_operators.add((resolve_name(func) or name).removesuffix(".default"))
            return result


class Float64Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The same in TorchScript, of which Python sees nothing but its operators."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kept = 1 if func._schema.is_mutable else 0
        given = [*args[:kept], *map(widen, args[kept:])]
        with _float64_default():
            return widen(func(*given, **widen(kwargs or {})))


def widen(value: Any) -> Any:  # noqa: ANN401 - whatever an operator takes or gives
    """Return a value with its tensors and dtypes in float64, also those in a list, tuple or dictionary."""
    return _convert(value, _WIDE, lambda tensor: tensor)


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


def _tensors(value: Any) -> Iterator[Tensor]:  # noqa: ANN401 - whatever an operator takes
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


@contextmanager
def _float64_default() -> Iterator[None]:
    """Let integers become float64 where they become floats: ``positions / 10000`` is computed, and no literal."""
    before = torch.get_default_dtype()
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

    runs = [widen(func(*_convert(args, _NARROW, shake), **_convert(kwargs, _NARROW, shake))) for _ in range(_RUNS)]
    return _mean(runs)


def _mean(runs: Iterable[Any]) -> Any:  # noqa: ANN401
    first, *others = runs
    if isinstance(first, Tensor):
        return torch.stack([first, *others]).mean(dim=0) if first.dtype in _NARROW else first
    if isinstance(first, (tuple, list)):
        return _like(first, [_mean(parts) for parts in zip(first, *others, strict=True)])
    return first
