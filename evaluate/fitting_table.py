"""Tables on consoles that are too narrow for them: no word, name or quantity is broken."""

import re
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_GAP = 2
_ANY_WIDTH = 10_000
_GLUE = "\u00a0"
_TOGETHER = re.compile(r"(?<=\d) (?=(?:%|[kMGT]?i?B|[mµ]?s|k|dB)(?:\s|$))|(?<=\bto) (?=-?\d)")


def print_fitting(console: Console, table: Table) -> None:
    """Print a table as it is where it fits, else without rules between columns, else a block of lines for each row.

    Args:
        console: Its width decides.
        table: Of cells that are text.
    """
    if width_needed(console, table) <= console.width:
        console.print(table)
        return
    columns = [[_plain(cell) for cell in (column.header, *column.cells)] for column in table.columns]
    words = [max(cell_len(word) for cell in cells for word in re.split("[ \n]", cell)) for cells in columns]
    lines = [max(cell_len(line) for cell in cells for line in cell.split("\n")) for cells in columns]
    room = console.width - _GAP * (len(words) - 1) - sum(words)
    if room < 0:
        _print_blocks(console, columns)
    else:
        console.print(_compact(table, columns, _shared_out(words, lines, room)))
    if table.caption is not None:
        console.print(table.caption)


def width_needed(console: Console, table: Table) -> int:
    """Return the width of a table that nothing makes narrower: measured on the console itself, none is too wide."""
    return console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum


def _plain(cell: object) -> str:
    """Return the text of a cell, with no-break spaces where a quantity must not be broken."""
    text = cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
    return _TOGETHER.sub(_GLUE, text)


def _shared_out(words: Sequence[int], lines: Sequence[int], room: int) -> list[int]:
    """Give the columns what is left, those first that need least to stand on one line."""
    widths = list(words)
    for place in sorted(range(len(widths)), key=lambda place: lines[place] - words[place]):
        more = min(room, lines[place] - words[place])
        widths[place] += more
        room -= more
    return widths


def _compact(table: Table, columns: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    found = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), leading=1)
    texts = [[_broken(cell, width) for cell in cells] for cells, width in zip(columns, widths, strict=True)]
    for column, cells in zip(table.columns, texts, strict=True):
        found.add_column(cells[0], justify=column.justify, no_wrap=True)
    for row, *cells in zip(table.rows, *(cells[1:] for cells in texts), strict=True):
        found.add_row(*cells, style=row.style)
    return found


def _broken(cell: str, width: int) -> str:
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in cell.split("\n"))
    return escape("\n".join(part for found in lines for part in found)).replace(_GLUE, " ")


def _print_blocks(console: Console, columns: Sequence[Sequence[str]]) -> None:
    on_line = ([cell.replace(_GLUE, " ").replace("\n", " ") for cell in cells] for cells in columns)
    titles, *rows = zip(*on_line, strict=True)
    indent = max(map(cell_len, titles)) + _GAP
    for first, *others in rows:
        console.print(Text(first, style="bold"))
        for title, text in zip(titles[1:], others, strict=True):
            if text:
                console.print(Text(f"  {title:<{indent}}{text}"))
