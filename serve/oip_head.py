"""Open Inference Protocol v2: the JSON of an infer request, decoded within bounds; tensors stay bytes.

Source: github.com/kserve/open-inference-protocol and Triton's binary tensor extension.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from serve.answer import RequestError
from serve.json_nan import check_unmarked, mark, may_need_marks

# whatever stands in a request becomes Python objects, which are many times as large, only within these bounds
_MAX_OBJECTS = 1000
_MAX_PARAMETERS_BYTES = 64 << 10
_MAX_SHAPE_BYTES = 1 << 10
_MAX_INT64 = 2**63 - 1


# msgspec structs, not dataclasses: msgspec 0.22 reads Raw, which puts off decoding, into no dataclass
class HeadInput(msgspec.Struct, frozen=True, kw_only=True):
    """One input as the request states it; its shape, parameters and data are still JSON."""

    name: str
    datatype: str
    shape: msgspec.Raw
    parameters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    data: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class HeadOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One output that the request asks for."""

    name: str
    parameters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a request."""

    inputs: tuple[HeadInput, ...]
    id: str | None = None
    outputs: tuple[HeadOutput, ...] = ()
    parameters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


T = TypeVar("T")

_HEAD = msgspec.json.Decoder(Head)
_SHAPE = msgspec.json.Decoder(tuple[Annotated[int, msgspec.Meta(le=_MAX_INT64)], ...])
_PARAMETERS = msgspec.json.Decoder(dict[str, Any])


def decode_head(head: bytes) -> Head:
    """Decode the JSON of a request, save its shapes, parameters and data.

    Raises:
        RequestError: it is no such JSON, or more than is read.
    """
    objects = head.count(b"{")
    if objects > _MAX_OBJECTS:
        raise RequestError(f"the request has {objects:,} objects in its JSON, but at most {_MAX_OBJECTS:,} are read")
    check_unmarked(head)
    try:
        return _HEAD.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not may_need_marks(head):
            raise RequestError(f"the request is not valid: {error}") from error
    try:
        return _HEAD.decode(mark(head))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the request is not valid: {error}") from error


def decode_shape(raw: msgspec.Raw, subject: str) -> tuple[int, ...]:
    """Decode a shape.

    Raises:
        RequestError: it is none, or longer than is read.
    """
    return _decode_part(_SHAPE, raw, f"{subject} has shape", _MAX_SHAPE_BYTES)


def parameters_of(raw: msgspec.Raw, subject: str) -> dict[str, Any]:
    """Decode parameters; none where they are not given.

    Raises:
        RequestError: they are none, or longer than is read.
    """
    return _decode_part(_PARAMETERS, raw, f"{subject} has parameters", _MAX_PARAMETERS_BYTES) if raw else {}


def _decode_part(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, subject: str, max_bytes: int) -> T:
    size = memoryview(raw).nbytes
    if size > max_bytes:
        raise RequestError(f"{subject} of {size:,} bytes, but at most {max_bytes:,} are read")
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"{subject} that cannot be read: {error}") from error


def read_count(parameters: Mapping[str, Any], key: str, subject: str) -> int | None:
    """Return a parameter that is a whole number of at least 0, or None where it is not given.

    Raises:
        RequestError: it is something else.
    """
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


def read_flag(parameters: Mapping[str, Any], key: str, subject: str, *, default: bool) -> bool:
    """Return a parameter that is true or false.

    Raises:
        RequestError: it is something else.
    """
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise RequestError(f"{subject} has parameter {key} {_short(value)}, but true or false was expected")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
