"""Signs that steer a terminal or a page, or show a name as another one: which they are, and how to show them."""

import unicodedata
from collections.abc import Iterable

_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, what is no UTF-8, and other ends of lines
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # show a name as another one
_MARKS = frozenset("\u200e\u200f\u061c")  # scripts from right to left need them, so names may hold them
_SPACES = frozenset("\t\n")


def has_unfit_signs(name: str) -> bool:
    """Return whether a name holds signs that do not show, or that turn or steer what shows them."""
    return any(_is_unfit(sign) for sign in name)


def check_legible(names: Iterable[str], what: str) -> None:
    r"""Refuse names with unfit signs.

    Args:
        names: One line each.
        what: They are names of.

    Raises:
        ValueError: one of them holds such signs; the sentence shows them as ``\u202e``.
    """
    for name in names:
        if has_unfit_signs(name):
            raise ValueError(
                f"the name of {what} is {name!r}, but a name is one line of letters that show, without control "
                "characters or such that change the direction of writing; rename it, and export the bundle again"
            )


def escape_unfit(text: str) -> str:
    r"""Return a text in which unfit signs and marks of direction show, as ``\u202e``; tabs and line feeds stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"\\u{ord(sign):04x}" if sign not in _SPACES and (_is_unfit(sign) or sign in _MARKS) else sign for sign in text
    )


def _is_unfit(sign: str) -> bool:
    return unicodedata.category(sign) in _UNFIT or sign in _TURNING
