"""JSON documents that hold their own digest, so that any changed byte is noticed."""

import hashlib
import re
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from serve.manifest import BundleError

_SEAL = re.compile(rb'"sha256": "([0-9a-f]{64})"')
_UNSEALED = b'"sha256": "' + b"0" * 64 + b'"'


class Sealed(Protocol):
    """A record that holds the digest of its own document."""

    @property
    def sha256(self) -> str:
        """The digest."""
        ...


T = TypeVar("T", bound=Sealed)


def seal(document: bytes) -> bytes:
    """Return a JSON document whose first ``"sha256"`` field holds the digest of the document with that field zeroed.

    A file cannot hold its own digest, but it can hold the digest of itself with 64 zeros in that place.

    Raises:
        ValueError: the document has no zeroed ``"sha256"`` field.
    """
    if _UNSEALED not in document:
        raise ValueError('the document has no "sha256" field of 64 zeros to seal')
    digest = hashlib.sha256(document).hexdigest().encode()
    return document.replace(_UNSEALED, b'"sha256": "' + digest + b'"', 1)


def check_seal(document: bytes, path: Path) -> str:
    """Check a document written by `seal`, so that any changed byte is noticed.

    Returns:
        The sealed digest.

    Raises:
        BundleError: the document is not what was sealed.
    """
    match = _SEAL.search(document)
    if match is None:
        raise BundleError(f"{path} holds no sha256 of itself, so it was altered or cut short; make it again")
    recorded = match.group(1).decode()
    found = hashlib.sha256(document[: match.start()] + _UNSEALED + document[match.end() :]).hexdigest()
    if found != recorded:
        raise BundleError(f"{path} has sha256 {found[:12]}…, but records {recorded[:12]}… of itself; make it again")
    return recorded


def encode_sealed(record: object) -> bytes:
    """Return a record with a zeroed ``sha256`` field as indented, sealed JSON."""
    return seal(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def decode_sealed(document: bytes, record_type: type[T], path: Path) -> T:
    """Return the record in a sealed JSON document.

    The seal is the first ``"sha256"`` of the document, and the record's field is the last one of that name: they must
    be the same, or a document could be sealed with one digest and speak of itself with another.

    Raises:
        BundleError: the document was altered, or does not hold such a record.
    """
    sealed = check_seal(document, path)
    try:
        record = msgspec.json.decode(document, type=record_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is not valid: {error}") from error
    if record.sha256 != sealed:
        raise BundleError(
            f"{path} is sealed with sha256 {sealed[:12]}…, but calls itself {record.sha256[:12]}…, so it was altered; "
            "make it again"
        )
    return record
