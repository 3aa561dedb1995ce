"""Records as JSON files: written whole or not at all, and read only as what this version writes."""

from pathlib import Path
from typing import TypeVar

import msgspec

from train.whole_file import write_whole

T = TypeVar("T")


def encode_record(record: object) -> bytes:
    """Return a record as JSON for people, too, without a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2)


def write_record(path: Path, record: object) -> None:
    """Write a record whole or not at all."""
    write_whole(path, encode_record(record) + b"\n")


def read_record(path: Path, record_type: type[T]) -> T | None:
    """Read a record, or None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=record_type)
    except (OSError, msgspec.DecodeError):
        return None
