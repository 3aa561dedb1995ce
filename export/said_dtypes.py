"""Which tensors are float64 because forward says so, and which because the reference widened them: forward may ask."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

WIDE = {torch.float32: torch.float64, torch.complex64: torch.complex128}
NARROW = {wide: narrow for narrow, wide in WIDE.items()}
_MARK = "_float64_of_forward"  # on what the reference made: whether it is forward that made it so wide
_DOUBLE = {torch.Tensor.double, torch.Tensor.cdouble}  # type: ignore[attr-defined]
_SINGLE = {torch.Tensor.float, torch.Tensor.cfloat}  # type: ignore[attr-defined]
_OF_ANOTHER = {torch.Tensor.to, torch.Tensor.type_as}


def _getter(name: str) -> Any:  # noqa: ANN401 - what torch hands on for an attribute
    return getattr(torch.Tensor, name).__get__


def tensors_in(value: Any) -> Iterator[Tensor]:  # noqa: ANN401 - whatever an operator takes
    """Return all tensors in a value, also those in a list, tuple or dictionary."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def is_own(tensor: Tensor) -> bool:
    """Return whether a tensor would be float64 without the reference, too."""
    return bool(getattr(tensor, _MARK, False))


def said(tensor: Tensor) -> torch.dtype:
    """Return the dtype that forward is told."""
    dtype = tensor.dtype
    return dtype if is_own(tensor) else NARROW.get(dtype, dtype)


def mark(result: Any, *, own: bool, given: Any) -> Any:  # noqa: ANN401 - whatever an operator takes and gives
    """Note of what an operator gave whether it is forward's own float64; what it only handed on, it gives anew."""
    same = any(result is tensor for tensor in tensors_in(given))
    if same and result.dtype in NARROW and is_own(result) != own:
        result = torch.ops.aten.alias.default(result)
    for tensor in tensors_in(result):
        if tensor.dtype in NARROW:
            setattr(tensor, _MARK, own)
    return result


def makes_own(func: Any, args: Any, kwargs: Mapping[str, Any]) -> bool:  # noqa: ANN401 - whatever an operator takes
    """Return whether what an operator gives would be float64 without the reference, too, by torch's own promotion."""
    if func in _DOUBLE or func in _SINGLE:
        return func in _DOUBLE
    values = (*args, *kwargs.values())
    asked = [value for value in values if type(value) is torch.dtype]
    if asked:
        return asked[-1] in NARROW
    if func is torch.Tensor.type:
        return "Double" in str(values[-1])
    floats = [tensor for tensor in tensors_in(values) if tensor.is_floating_point() or tensor.is_complex()]
    if not any(map(is_own, floats)):
        return False
    if func in _OF_ANOTHER and isinstance(values[-1], Tensor):
        return is_own(values[-1])
    # a number counts only beside numbers
    return any(map(is_own, [tensor for tensor in floats if tensor.ndim] or floats))


def _type_name(tensor: Tensor) -> str:
    name = str(tensor.type())
    return name if is_own(tensor) else name.replace("Double", "Float")


def _bytes(tensor: Tensor) -> int:
    return tensor.element_size() // (2 if said(tensor) != tensor.dtype else 1)


ANSWERS: Mapping[Any, Any] = {
    _getter("dtype"): said,
    _getter("itemsize"): _bytes,
    torch.Tensor.element_size: _bytes,
    _getter("nbytes"): lambda tensor: _bytes(tensor) * tensor.numel(),
    torch.Tensor.type: _type_name,
}
"""What forward may ask of a tensor, and what it is told."""


class Leaks(TorchFunctionMode):
    """Notes operators that take what the reference made wide, in a run that is none of the reference's.

    Attributes:
        found: Their names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if any(getattr(tensor, _MARK, True) is False for tensor in tensors_in((args, kwargs or {}))):
            self.found.append(resolve_name(func) or getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))
