"""JSON with the words NaN and Infinity, which it lacks and clients send all the same: marked, and read."""

import json
import re
from typing import Any

import msgspec

from serve.answer import RequestError

_NOT_JSON = (b"NaN", b"Infinity")
_MARK = b'"\x7f'  # the delete character, which no name or number has
_MARKS = {b"NaN": _MARK + b'N"', b"Infinity": _MARK + b'I"', b"-Infinity": _MARK + b'-I"'}
_STRING_OR_NOT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[^"]++', re.DOTALL)
_MAX_QUOTES = 20_000  # each is a Python object, or two


def check_unmarked(text: bytes) -> None:
    """Refuse a document that holds what marks stand for.

    Raises:
        RequestError: it does.
    """
    if _MARK in text:
        raise RequestError("the request has a string that starts with a delete character, but names and numbers do not")


def may_need_marks(text: bytes) -> bool:
    """Return whether one of the words stands anywhere in a document, be it in a string."""
    return any(word in text for word in _NOT_JSON)


def mark(text: bytes) -> bytes:
    """Replace the words by strings that `check_unmarked` lets into no request; `parse_marked` undoes it.

    Raises:
        RequestError: the document has too many strings to look through.
    """
    quotes = text.count(b'"')
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

    return b"".join(marked(part) for part in _STRING_OR_NOT.findall(text))


def parse_marked(text: bytes, nested: Any) -> Any:  # noqa: ANN401 - lists as deep as the shape
    """Decode a part of a marked document as a type, with its NaN and Infinity."""
    if _MARK not in text:
        return msgspec.json.decode(text, type=nested)
    for word, marked in _MARKS.items():
        text = text.replace(marked, word)
    return msgspec.convert(json.loads(text), nested)  # Python's json reads NaN and Infinity
