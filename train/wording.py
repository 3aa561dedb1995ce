"""Few words for many names, in sentences to people."""

from collections.abc import Sequence


def some_names(names: Sequence[str], *, most: int = 8) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
