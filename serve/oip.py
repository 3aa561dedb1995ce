"""Open Inference Protocol v2: infer requests as bytes, JSON and binary tensors; no sockets, no models.

Source: github.com/kserve/open-inference-protocol and Triton's binary tensor and classification extensions.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve.answer import RequestError
from serve.bundle import Manifest, TensorSpec
from serve.oip_response import DATATYPES, InferRequest, RequestedOutput
from serve.signature import check_inputs, describe_shape

_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}
_NOT_JSON = (b"NaN", b"Infinity")
_MARK = b'"\x7f'  # the delete character, which no name or number has
_MARKS = {b"NaN": _MARK + b'N"', b"Infinity": _MARK + b'I"', b"-Infinity": _MARK + b'-I"'}
_STRING_OR_NOT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[^"]++', re.DOTALL)
# whatever stands in a request becomes Python objects, which are many times as large, only within these bounds
_MAX_OBJECTS = 1000
_MAX_QUOTES = 20_000
_MAX_PARAMETERS_BYTES = 64 << 10
_MAX_SHAPE_BYTES = 1 << 10
_MAX_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tensor:
    """One input as it is described; its values are `data`, or bytes after the JSON where a size is given."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size_bytes: int | None = None
    data: bytes = b""


# msgspec structs, not dataclasses: msgspec 0.22 reads Raw, which puts off decoding, into no dataclass
class _Input(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    datatype: str
    shape: msgspec.Raw
    parameters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    data: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _Output(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    parameters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    inputs: tuple[_Input, ...]
    id: str | None = None
    outputs: tuple[_Output, ...] = ()
    parameters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


T = TypeVar("T")

_HEAD = msgspec.json.Decoder(_Head)
_SHAPE = msgspec.json.Decoder(tuple[Annotated[int, msgspec.Meta(le=_MAX_INT64)], ...])
_PARAMETERS = msgspec.json.Decoder(dict[str, Any])


def decode_request(body: bytes, *, header_length: int | None, manifest: Manifest, max_rows: int) -> InferRequest:
    """Decode the body of an infer request.

    Names, dtypes, shapes and sizes are checked before any tensor is made.

    Args:
        body: JSON, followed by binary tensors where `header_length` says so; uncompressed.
        header_length: ``Inference-Header-Content-Length``: bytes of JSON; 0 where the body is nothing but the one
            tensor; None where all of it is JSON.
        manifest: The model's.
        max_rows: Most rows of one request.

    Raises:
        RequestError: anything is not as the protocol or the model wants it.
        TooLargeError: there are more rows than are taken at once.
    """
    if header_length == 0:
        return _decode_raw(body, manifest, max_rows)
    if header_length is not None and not 0 <= header_length <= len(body):
        raise RequestError(
            f"Inference-Header-Content-Length is {header_length}, but the body has {len(body)} bytes; "
            "send the length of its JSON"
        )
    end = len(body) if header_length is None else header_length
    head = _decode_head(body[:end])
    tensors = [_describe(tensor) for tensor in head.inputs]
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise RequestError(f"inputs are {', '.join(names)}, but each may stand there once only")
    declared = {tensor.name: (_dtype(tensor), tensor.shape) for tensor in tensors}
    check_inputs(declared, manifest, max_rows=max_rows)
    inputs: dict[str, NDArray[Any]] = {}
    for tensor in tensors:
        if tensor.size_bytes is None:
            inputs[tensor.name] = _from_json(tensor)
        else:
            inputs[tensor.name] = _from_bytes(tensor, body, end, tensor.size_bytes)
            end += tensor.size_bytes
    if end != len(body):
        raise RequestError(f"the body has {len(body) - end} bytes after its last tensor, but none were expected")
    parameters = _parameters(head.parameters, "the request")
    timeout_us = _count(parameters, "timeout", "the request")
    return InferRequest(
        id=head.id,
        inputs=inputs,
        outputs=_requested(head, parameters, manifest),
        deadline_s=timeout_us / 1e6 if timeout_us else None,
    )


def _decode_head(head: bytes) -> _Head:
    objects = head.count(b"{")
    if objects > _MAX_OBJECTS:
        raise RequestError(f"the request has {objects:,} objects in its JSON, but at most {_MAX_OBJECTS:,} are read")
    if _MARK in head:
        raise RequestError("the request has a string that starts with a delete character, but names and numbers do not")
    try:
        return _HEAD.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not any(word in head for word in _NOT_JSON):
            raise RequestError(f"the request is not valid: {error}") from error
    try:
        return _HEAD.decode(_mark(head))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the request is not valid: {error}") from error


def _mark(head: bytes) -> bytes:
    """Replace NaN and Infinity, for which JSON has no word, by strings that no request may hold; `_parse` undoes it."""
    quotes = head.count(b'"')
    if quotes > _MAX_QUOTES:
        raise RequestError(
            f"the request has {quotes:,} quotation marks beside NaN or Infinity, but at most {_MAX_QUOTES:,} are read"
        )

    def marked(part: bytes) -> bytes:
        if part.startswith(b'"'):
            return part
        for word in (b"-Infinity", b"Infinity", b"NaN"):  # the longer one before its end
            part = part.replace(word, _MARKS[word])
        return part

    return b"".join(marked(part) for part in _STRING_OR_NOT.findall(head))


def _describe(tensor: _Input) -> _Tensor:
    subject = f"input {tensor.name}"
    return _Tensor(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=_decode_part(_SHAPE, tensor.shape, f"{subject} has shape", _MAX_SHAPE_BYTES),
        size_bytes=_count(_parameters(tensor.parameters, subject), "binary_data_size", subject),
        data=bytes(tensor.data),
    )


def _parameters(raw: msgspec.Raw, subject: str) -> dict[str, Any]:
    return _decode_part(_PARAMETERS, raw, f"{subject} has parameters", _MAX_PARAMETERS_BYTES) if raw else {}


def _decode_part(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, subject: str, max_bytes: int) -> T:
    size = memoryview(raw).nbytes
    if size > max_bytes:
        raise RequestError(f"{subject} of {size:,} bytes, but at most {max_bytes:,} are read")
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"{subject} that cannot be read: {error}") from error


def _decode_raw(body: bytes, manifest: Manifest, max_rows: int) -> InferRequest:
    spec = manifest.inputs[0]
    fixed = [size for size in spec.shape[1:] if isinstance(size, int)]
    if len(manifest.inputs) > 1 or len(fixed) != len(spec.shape) - 1:
        raise RequestError(
            f"Inference-Header-Content-Length is 0, but the shapes model {manifest.name} takes cannot be told from "
            "a bare tensor; send the JSON too"
        )
    row_bytes = math.prod(fixed) * np.dtype(spec.dtype).itemsize
    if not body or len(body) % row_bytes:
        raise RequestError(
            f"the body has {len(body)} bytes, but input {spec.name} is {spec.dtype} {describe_shape(spec)} "
            f"of {row_bytes} bytes a row; send whole rows"
        )
    shape = (len(body) // row_bytes, *fixed)
    check_inputs({spec.name: (spec.dtype, shape)}, manifest, max_rows=max_rows)
    tensor = _Tensor(name=spec.name, datatype=DATATYPES[spec.dtype], shape=shape)
    outputs = tuple(RequestedOutput(name=output.name, binary=True) for output in manifest.outputs)
    inputs = {spec.name: _from_bytes(tensor, body, 0, len(body))}
    return InferRequest(id=None, inputs=inputs, outputs=outputs, deadline_s=None)


def _dtype(tensor: _Tensor) -> str:
    return _DTYPES.get(tensor.datatype, tensor.datatype)


def _from_bytes(tensor: _Tensor, body: bytes, begin: int, size: int) -> NDArray[Any]:
    dtype = np.dtype(_dtype(tensor))
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


def _from_json(tensor: _Tensor) -> NDArray[Any]:
    dtype = np.dtype(_dtype(tensor))
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
        values = _parse(text, nested)
        with np.errstate(over="raise"):
            array = np.array(values, dtype=dtype)
    except (msgspec.DecodeError, ValueError, OverflowError, FloatingPointError, RecursionError) as error:
        raise RequestError(f"{subject} has data that is no {tensor.datatype} {list(tensor.shape)}: {error}") from error
    if array.size != expected or (array.ndim > 1 and array.shape != tensor.shape):
        raise RequestError(f"{subject} has data of shape {list(array.shape)}, but shape says {list(tensor.shape)}")
    return array.reshape(tensor.shape)


def _parse(text: bytes, nested: Any) -> Any:  # noqa: ANN401 - lists as deep as the shape
    if _MARK not in text:
        return msgspec.json.decode(text, type=nested)
    for word, mark in _MARKS.items():
        text = text.replace(mark, word)
    return msgspec.convert(json.loads(text), nested)  # Python's json reads NaN and Infinity


def _requested(head: _Head, given: Mapping[str, Any], manifest: Manifest) -> tuple[RequestedOutput, ...]:
    binary = _flag(given, "binary_data_output", "the request", default=False)
    if not head.outputs:
        return tuple(RequestedOutput(name=spec.name, binary=binary) for spec in manifest.outputs)
    known = {spec.name: spec for spec in manifest.outputs}
    requested: list[RequestedOutput] = []
    for output in head.outputs:
        if output.name not in known:
            raise RequestError(f"output {output.name} is asked for, but model {manifest.name} has {', '.join(known)}")
        if any(output.name == earlier.name for earlier in requested):
            raise RequestError(f"output {output.name} is asked for twice, but each may stand there once only")
        subject = f"output {output.name}"
        parameters = _parameters(output.parameters, subject)
        requested.append(
            RequestedOutput(
                name=output.name,
                binary=_flag(parameters, "binary_data", subject, default=binary),
                classes=_classes(parameters, subject, known[output.name]),
            )
        )
    return tuple(requested)


def _classes(parameters: Mapping[str, Any], subject: str, spec: TensorSpec) -> int | None:
    classes = _count(parameters, "classification", subject)
    if not classes:
        return None
    if len(spec.shape) != 2:
        raise RequestError(f"{subject} has parameter classification, but shape {describe_shape(spec)} holds no classes")
    return classes


def _count(parameters: Mapping[str, Any], key: str, subject: str) -> int | None:
    value = parameters.get(key)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise RequestError(
            f"{subject} has parameter {key} {_short(value)}, but a whole number of at least 0 was expected"
        )
    if value > _MAX_INT64:
        raise RequestError(f"{subject} has parameter {key} {_short(value)}, but at most {_MAX_INT64} was expected")
    return value


def _flag(parameters: Mapping[str, Any], key: str, subject: str, *, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise RequestError(f"{subject} has parameter {key} {_short(value)}, but true or false was expected")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
