"""A table as a picture: for rows that no scatter plot can show, and for the layers of a network."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from train.pictures.layout import FONT, NARROWEST, WIDTH, house_style, new_figure, shorten, wrap

ROW = 0.24  # inches
LETTER = 0.61 * FONT / 72  # inches, in the monospaced font
GAP = 2
MOST_ROWS = 48


@house_style()
def draw_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, left: int = 1, note: str = ""
) -> Figure:
    """Draw a table; cells that would make it too wide are cut, rows beyond what one can read are left out.

    Args:
        header: Name of each column.
        rows: Cells, as many as columns.
        title: Above.
        left: How many columns, from the first, are aligned to the left; the others to the right.
        note: Below; lines stay lines.
    """
    cut = len(rows) - MOST_ROWS
    notes = [f"{cut:,} rows more are not shown"] if cut > 0 else []
    notes += note.splitlines()
    rows = rows[:MOST_ROWS]
    widths = _fit([max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)])
    total = sum(widths) + GAP * (len(widths) - 1)
    lines = 1 + len(rows) + len(notes)
    margin = 0.2
    width = min(max(total * LETTER + 2 * margin, NARROWEST), WIDTH)
    figure = new_figure(width, (lines + 1.6) * ROW + 0.3)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, (width - 2 * margin) / LETTER)
    axes.set_ylim(lines + 0.2, -0.2)
    axes.set_title(wrap(title, inches=width, size=FONT + 1), loc="left", fontsize=FONT + 1)
    for line, row in enumerate([header, *rows]):
        place = 0
        for index, (cell, cells) in enumerate(zip(row, widths, strict=True)):
            axes.text(
                place if index < left else place + cells,
                line + 0.5,
                shorten(cell, cells),
                family="monospace",
                weight="bold" if line == 0 else "normal",
                ha="left" if index < left else "right",
                va="center",
            )
            place += cells + GAP
        if line % 2:
            axes.fill_between([0, total], line, line + 1, color="#eef2f7", linewidth=0, zorder=0)
    for line, text in enumerate(notes, start=1 + len(rows)):
        axes.text(0, line + 0.6, text, va="center")
    return figure


def _fit(widths: list[int]) -> list[int]:
    """Narrow the widest columns until the table fits the picture."""
    most = int((WIDTH - 0.4) / LETTER) - GAP * (len(widths) - 1)
    widths = list(widths)
    while sum(widths) > most and max(widths) > 6:
        widths[widths.index(max(widths))] -= 1
    return widths
