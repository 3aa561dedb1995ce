"""How all pictures look: size, fonts, colours, and labels that fit."""

import io
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from train.pictures.picture import Picture

DPI = 120
WIDTH = 10.0  # inches, at most: 1200 pixels
NARROWEST = 4.0
CELL = 2.4  # width of an image in a grid, at most
FONT = 9.0
SMALL = 8.0  # the smallest there is

RIGHT, WRONG = "#00694b", "#b3261e"  # green and red of different lightness; ✓ and ✗ say the same without colour
RIGHT_MARK, WRONG_MARK = "✓", "✗"
TRAIN, TEST, PREDICTED = "#1f4e9c", "#2b9348", "#c1121f"
MISSING_GLYPH = re.compile(r"Glyph (\d+) .* missing from")
MOST_SIGNS = 10
MARKERS = "osD^vPX*<>"

# Labels may be in any script; the first font that has a letter draws it.
FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)

Colour = tuple[float, float, float]


@cache
def _fonts() -> tuple[str, ...]:
    installed = set(fontManager.get_font_names())
    return "DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in one style, whatever the reader's own settings are; use it around, or as the decorator of a function."""
    own = {"font.family": list(_fonts()), "font.size": FONT, "text.parse_math": False, "axes.titlesize": FONT}
    with matplotlib.style.context(["default", own]):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, kept between readable and sensible."""
    return Figure(
        figsize=(min(max(width, NARROWEST), WIDTH), min(max(height, 1.5), 1.5 * WIDTH)), dpi=DPI, layout="constrained"
    )


def new_grid(
    count: int, *, columns: int, ratio: float = 1.0, title: str = "", lines: int = 0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with one bare panel per image; one alone and an unfilled last row are fine.

    Args:
        count: How many panels; at least 1.
        columns: How many stand side by side, at most.
        ratio: Height of an image over its width.
        title: Stands above them all.
        lines: How many lines the longest title of a panel has.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    cell = min(CELL, WIDTH / columns)
    figure = new_figure(columns * cell, rows * (cell * min(max(ratio, 0.4), 1.6) + 0.1 + 0.18 * lines) + 0.3)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in axes:
        panel.set_axis_off()
    if title:
        figure.suptitle(wrap(title, inches=figure.get_figwidth(), size=FONT + 1), fontsize=FONT + 1)
    return figure, axes[:count]


def wrap(text: str, *, inches: float, size: float = FONT, lines: int = 3) -> str:
    """Break a text so that it fits a width; what does not fit in so many lines ends in an ellipsis."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)  # twice as wide as the others
    characters = max(6, int(inches * 72 / (0.62 * size) / (1 + wide / max(1, len(text)))))
    paragraphs = [textwrap.wrap(line, characters, max_lines=lines, placeholder="…") for line in text.splitlines()]
    return "\n".join(line for paragraph in paragraphs for line in paragraph)


def shorten(text: str, most: int) -> str:
    """Cut a text to so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def thin(count: int, most: int) -> list[int]:
    """Return the places of at most so many labels of an axis, evenly spaced."""
    return list(range(0, count, max(1, -(-count // most))))


def class_colours(classes: int) -> list[Colour]:
    """Return one colour per class, from red over yellow to blue, which the colour-blind can tell apart."""
    scale = matplotlib.colormaps["RdYlBu"]
    places = [0.1 + 0.8 * index / max(1, classes - 1) for index in range(classes)]
    return [(red, green, blue) for red, green, blue, _ in map(scale, places)]


def legend_below(figure: Figure, axes: Axes, *, most: int = 12) -> None:
    """Put the legend of one panel below them all; one with more entries than that is left out."""
    handles, labels = axes.get_legend_handles_labels()
    if 1 < len(handles) <= most:
        shown = [shorten(label, 30) for label in labels]
        longest = max(map(len, shown))
        columns = max(1, min(len(shown), int(figure.get_figwidth() * 72 / (0.62 * FONT) / (longest + 5))))
        figure.legend(handles, shown, loc="outside lower center", ncols=columns, fontsize=FONT)


@house_style()
def render(figure: Figure, text: str) -> Picture:
    """Turn a figure into a picture; the same figure gives the same bytes."""
    target = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(target, format="png", dpi=DPI, metadata={"Software": None})
    missing: dict[str, None] = {}
    for warning in caught:
        glyph = MISSING_GLYPH.match(str(warning.message))
        if glyph is None:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        else:
            missing[chr(int(glyph[1]))] = None
    return Picture(png=target.getvalue(), text="\n".join(filter(None, [text, _say_missing(missing)])))


def _say_missing(letters: Iterable[str]) -> str:
    """Say which letters no installed font has, so that the picture shows boxes; or nothing."""
    signs = sorted(letters)
    if not signs:
        return ""
    more = "" if len(signs) <= MOST_SIGNS else f" and {len(signs) - MOST_SIGNS} more"
    return f"the picture shows boxes for {' '.join(signs[:MOST_SIGNS])}{more}: no font here has these signs"


def number(value: float) -> str:
    """Return a number as people read it, a missing one as a hyphen."""
    return "-" if value != value else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def row_lines(cells: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return rows of cells as lines with columns below each other, the first so many columns left-aligned."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
