"""One input as the user types it, ``NAME:DTYPE[dims]``, and what is wrong with it where it is none."""

import math
import re
from typing import cast, get_args

from export.errors import ExportError
from serve.bundle import DType, TensorSpec

_TEXT = re.compile(r"([^:\[\]]*):([^:\[\]]*)\[([^\[\]]*)\]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPECTED = "NAME:DTYPE[dims] was expected, without the batch, such as image:uint8[224,224,3]"
_MOST_VALUES = 10**8  # of a row: golden inputs hold many rows
_MOST_DIGITS = 9
_SHOWN = 60  # signs of the dims
_MEANT: dict[str, DType] = {  # what other tools call them
    "byte": "uint8",
    "uint": "uint8",
    "u8": "uint8",
    "int": "int64",
    "long": "int64",
    "i64": "int64",
    "half": "float16",
    "fp16": "float16",
    "f16": "float16",
    "float": "float32",
    "fp32": "float32",
    "f32": "float32",
    "double": "float64",
    "fp64": "float64",
    "f64": "float64",
}


def parse_input(text: str) -> TensorSpec:
    """Read one ``NAME:DTYPE[dims]``; the batch comes before the dims by itself.

    Raises:
        ExportError: it is none.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ExportError(f"--input is {text!r}, but {_EXPECTED}; {_remedy(text)}")
    name, dtype, dims = (part.strip() for part in match.groups())
    if not _NAME.fullmatch(name):
        raise ExportError(
            f"--input is {text!r}, whose name is {name!r}, but letters of ASCII, digits and _ were expected, with no "
            f"digit first; call it {'image' if dtype == 'uint8' else 'x'}, say"
        )
    if dtype not in get_args(DType):
        meant = dtype.lower().removeprefix("torch.").removeprefix("np.")
        meant = _MEANT.get(meant, meant)
        remedy = f"write {meant}" if meant in get_args(DType) else "take one of them, and convert it in forward"
        if name in get_args(DType):
            remedy = f"write the name first: {dtype}:{name}[{dims}]"
        raise ExportError(
            f"--input {name} has dtype {dtype or 'none'}, but one of {', '.join(get_args(DType))} was expected; "
            f"{remedy}"
        )
    return TensorSpec(name=name, dtype=cast("DType", dtype), shape=("batch", *_sizes(name, dims)))


def _sizes(name: str, dims: str) -> tuple[int, ...]:
    parts = [part.strip() for part in dims.split(",")] if dims.strip() else []
    found = f"--input {name} has dims [{dims if len(dims) <= _SHOWN else dims[:_SHOWN] + '…'}]"
    expected = "but whole numbers above 0 were expected"
    if "" in parts:
        raise ExportError(f"{found}, {expected}, with one comma between two of them; take out a comma")
    if not all(part.isascii() and part.isdigit() and int(part[:_MOST_DIGITS]) > 0 for part in parts):
        apart = [number for part in parts for number in re.split(r"[\sxX*]+", part)]
        remedy = (
            f"put commas between them: [{','.join(apart)}]"
            if len(apart) > len(parts) and all(number.isdigit() for number in apart)
            else "only the batch may vary, and it is left out: write every other size as a number"
        )
        raise ExportError(f"{found}, {expected}; {remedy}")
    if max(map(len, parts), default=0) > _MOST_DIGITS or math.prod(map(int, parts)) > _MOST_VALUES:
        raise ExportError(
            f"{found}, but at most {_MOST_VALUES:,} values were expected in one row; give the sizes of one row, "
            "without the batch"
        )
    return tuple(map(int, parts))


def _remedy(text: str) -> str:
    """Say what to write otherwise where a text has not the form at all."""
    if text.count(":") > 1:
        return "give --input once for each input, each with one colon"
    if ":" not in text:
        return "write a colon between the name and the dtype"
    if (text.count("["), text.count("]")) != (1, 1):
        return "write the dims within one pair of square brackets"
    return "write the name, a colon, the dtype, and last the dims in square brackets"
