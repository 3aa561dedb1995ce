"""A figure as SVG inside a page: its text is the page's, its colours follow light and dark, and nothing is loaded."""

import io
import re
import warnings

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from serve.legible import escape_unfit
from train.pictures.layout import MISSING_GLYPH, house_style

_PIXELS_PER_INCH = 96
_METADATA = ("Creator", "Date", "Format", "Type")
# the house's colours, as the figures are drawn, and what the style sheet calls them
_COLOURS = {
    "#000000": "var(--axis)",
    "#ffffff": "var(--card)",
    "#1f4e9c": "var(--one)",
    "#00694b": "var(--two)",
    "#b3261e": "var(--bad)",
    "#7f95bf": "var(--one-soft)",
    "#9aa5b1": "var(--soft)",
    "#777777": "var(--muted)",
    "#dddddd": "var(--grid)",
}
_TAG = re.compile(r"<!--.*?-->|<[^>]*>", re.DOTALL)  # in text, < and > are escaped
_DROPPED = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", re.DOTALL)
_ID = re.compile(r' id="([^"]*)"')
_USED = re.compile(r'url\(#([^)]*)\)|href="#([^"]*)"')
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")


@house_style()
def inline_svg(figure: Figure, text: str, *, name: str) -> Markup:
    """Return a figure as an ``<svg>`` element.

    Args:
        figure: In the house's style; what stands above it as a title is left out, as the page has words of its own.
        text: What it shows, for those who cannot see it.
        name: Unlike that of every other picture of the page.
    """
    figure.suptitle("")
    for axes in figure.axes:
        for place in ("left", "center", "right"):
            axes.set_title("", loc=place)
        axes.patch.set_alpha(0)
    figure.patch.set_alpha(0)
    width, height = figure.get_size_inches()
    content = escape_unfit(_DROPPED.sub("", _drawn(figure), count=0))
    used = {first or second for first, second in _USED.findall(content)}

    def change(tag: re.Match[str]) -> str:
        found = tag[0]
        if found.startswith("<!--"):
            return ""
        found = _ID.sub(lambda one: f' id="{name}-{one[1]}"' if one[1] in used else "", found)
        found = found.replace("url(#", f"url(#{name}-")
        found = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', found)
        found = re.sub(r"xlink:href", "href", found)
        return _COLOUR.sub(lambda one: _COLOURS.get(one[0], one[0]), found)

    box = f"0 0 {72 * width:g} {72 * height:g}"
    opening = (
        f'<svg class="chart" role="img" aria-label="{escape(escape_unfit(text))}" viewBox="{box}" '
        f'style="width: {_PIXELS_PER_INCH * width:.0f}px">'
    )
    body = _TAG.sub(change, re.sub(r"^<svg[^>]*>", "", content.strip()))
    return Markup(opening + body)  # noqa: S704 - matplotlib escapes all text that it draws


def _drawn(figure: Figure) -> str:
    target = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught, matplotlib.rc_context({"svg.fonttype": "none"}):
        warnings.simplefilter("always")
        figure.savefig(target, format="svg", metadata=dict.fromkeys(_METADATA))
    for warning in caught:
        if not MISSING_GLYPH.match(str(warning.message)):  # the browser has fonts of its own
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return target.getvalue().decode("utf-8", "replace")
