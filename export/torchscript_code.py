"""The code inside a TorchScript file, read as text before torch runs any of it."""

import io
import re
from typing import BinaryIO

import torch

from export.first_line import first_line
from serve.bundle import BundleError

# of all of torch's and torchvision's operators, those that take the name of a file
FILE_OPERATORS = ("save", "from_file", "load_tensor", "read_file", "write_file")
_ZIP = b"PK\x03\x04"
_FLATBUFFER = b"PTMF"  # at the fourth byte: torch looks for it first, and then reads no archive
_LEGACY = "model.json"  # of before torch 1.0: it gives records of code any name
_STRING = re.compile(rb'"((?:\\.|[^"\\\n])*)"')
_ESCAPED = re.compile(rb"\\([0-7]{3}|.)")
_TEXT = b"\0"  # in place of every string
# torch writes none of these outside of strings: quotes, comments, continued lines, and strings in several parts
_FOREIGN = re.compile(rb"[\"'#\\]|\0\s*\0")
# after a dot with any blank, or what might pass for one
_ATTRIBUTE = re.compile(rf"\.[\x00-\x20\x7f-\xff]*({'|'.join(FILE_OPERATORS)})\b".encode("latin-1"))
_BY_NAME = re.compile(rb"\bgetattr\b")


def check_code(content: bytes) -> None:
    """Refuse a file whose code names an operator that reads or writes files: some of it runs while it is loaded.

    Raises:
        BundleError: it does, or holds what torch does not write, or the bytes are no archive.
    """
    name = file_operator(io.BytesIO(content))
    if name is not None:
        raise BundleError(
            f"the TorchScript file names {name}, which reads or writes files, but a graph only computes; "
            "do not run it, and export the network without it"
        )


def file_operator(file: BinaryIO) -> str | None:
    """Return which operator that reads or writes files the code of an archive names, or None where it names none.

    Whatever stands before the name counts, because an operator has many paths: ``t = torch; t.save``.

    Raises:
        BundleError: it cannot be read as torch reads it, or its code is not as torch writes it.
    """
    head = file.read(8)
    file.seek(0)
    if not head.startswith(_ZIP) or head.endswith(_FLATBUFFER):
        raise BundleError(f"the TorchScript file cannot be read (it begins with {head!r}, no archive); export it again")
    try:
        sources = _sources(file)
    except (RuntimeError, UnicodeDecodeError) as error:
        raise BundleError(f"the TorchScript file cannot be read ({first_line(error)}); export it again") from error
    return next(filter(None, map(_named, sources)), None)


def _sources(file: BinaryIO) -> list[bytes]:
    """Return the records that hold code, read by torch itself: it finds them by name, the first, in any case."""
    reader = torch._C.PyTorchFileReader(file)
    names = [str(name) for name in reader.get_all_records()]
    # a name that is cut short in the list has no record, or one that is there twice
    odd = [name for name in names if not reader.has_record(name)]  # type: ignore[attr-defined]
    if odd or len({name.lower() for name in names}) != len(names) or _LEGACY in {name.lower() for name in names}:
        raise BundleError(
            "the TorchScript file holds records with the same name, or names that torch does not write; "
            "do not run it, and export it again"
        )
    return [bytes(reader.get_record(name)) for name in names if name.lower().endswith(".py")]


def _named(source: bytes) -> str | None:
    code = _STRING.sub(_TEXT, source)
    if _TEXT in source or b'"""' in source or _FOREIGN.search(code):
        raise BundleError(
            "the TorchScript file holds code as torch does not write it (with comments, backslashes, strings in other "
            "quotes or in several parts); do not run it, and export it again"
        )
    found = _ATTRIBUTE.search(code)
    if found is not None:
        return found.group(1).decode()
    if _BY_NAME.search(code):
        texts = {_ESCAPED.sub(_unescape, match.group(1)).decode("latin-1") for match in _STRING.finditer(source)}
        return next((name for name in FILE_OPERATORS if name in texts), None)
    return None


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match.group(1)
    return bytes([int(escaped, 8) & 255]) if len(escaped) == 3 else escaped
