"""Open Inference Protocol v2: an input's values, from JSON or from bytes, checked against what it says of itself.

Source: github.com/kserve/open-inference-protocol and Triton's binary tensor extension.
"""

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve.answer import RequestError
from serve.json_nan import parse_marked
from serve.oip_response import DATATYPES

_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """One input as it is described; its values are `data`, or bytes after the JSON where a size is given."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size_bytes: int | None = None
    data: bytes = b""


def dtype_of(tensor: Tensor) -> str:
    """Return the name of a tensor's dtype as numpy has it; that of the protocol where numpy has none."""
    return _DTYPES.get(tensor.datatype, tensor.datatype)


def values_from_bytes(tensor: Tensor, body: bytes, begin: int, size: int) -> NDArray[Any]:
    """Return the values in so many bytes of a body, in place where they are aligned.

    Raises:
        RequestError: they are not what the tensor says of itself.
    """
    dtype = np.dtype(dtype_of(tensor))
    expected = math.prod(tensor.shape) * dtype.itemsize
    if tensor.data:
        raise RequestError(f"input {tensor.name} has both data and binary_data_size, but one of them was expected")
    if size != expected:
        raise RequestError(
            f"input {tensor.name} has binary_data_size {size}, but {tensor.datatype} {list(tensor.shape)} "
            f"takes {expected}"
        )
    if begin + size > len(body):
        raise RequestError(
            f"input {tensor.name} needs {size} bytes, but {len(body) - begin} are left in the body; it was cut short"
        )
    values = np.frombuffer(body, dtype=dtype.newbyteorder("<"), count=size // dtype.itemsize, offset=begin)
    # a tensor starts wherever the JSON ends, and kernels read whole words: out of line, it must be copied
    values = values if values.flags.aligned else values.copy()
    return values.astype(dtype, copy=False).reshape(tensor.shape)


def values_from_json(tensor: Tensor) -> NDArray[Any]:
    """Return the values in a tensor's data.

    Raises:
        RequestError: they are not what the tensor says of itself.
    """
    dtype = np.dtype(dtype_of(tensor))
    subject = f"input {tensor.name}"
    text = tensor.data
    if not text:
        raise RequestError(f"{subject} has neither data nor binary_data_size, but one of them was expected")
    expected = math.prod(tensor.shape)
    found = text.count(b",") + 1  # counted before a Python object is made of each
    if found != expected:
        raise RequestError(f"{subject} has {found} values in data, but shape {list(tensor.shape)} takes {expected}")
    element: Any = float if dtype.kind == "f" else int
    nested: Any = list[element]
    if text[1:].lstrip().startswith(b"["):
        for _ in tensor.shape[1:]:
            nested = list[nested]
    try:
        values = parse_marked(text, nested)
        with np.errstate(over="raise"):
            array = np.array(values, dtype=dtype)
    except (msgspec.DecodeError, ValueError, OverflowError, FloatingPointError, RecursionError) as error:
        raise RequestError(f"{subject} has data that is no {tensor.datatype} {list(tensor.shape)}: {error}") from error
    if array.size != expected or (array.ndim > 1 and array.shape != tensor.shape):
        raise RequestError(f"{subject} has data of shape {list(array.shape)}, but shape says {list(tensor.shape)}")
    return array.reshape(tensor.shape)
