"""How a figure is judged: a pure function of what the notes print, the rule, and what was measured."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Literal

Verdict = Literal["exact", "band", "missed", "not reproducible", "corrected"]

SPREAD_STDS = 3.0
NOT_MEASURED = "not measured"
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class FigureError(ValueError):
    """A figure that cannot be judged as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Every printed digit, in the notes' own format, or it is missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Within a tolerance of each printed number; exact where every digit is the same."""

    tolerance: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """From low to high, both included; exact where numbers are printed and every digit is the same."""

    low: float
    high: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The printed numbers lie within three standard deviations of the mean of ours over seeds."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Irreproducible:
    """Nobody could print it again; ours stands beside it where there is one."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """The notes are mistaken, and ours is right; it is missed where ours is what they print."""

    why: str


Rule = Digits | Near | Range | Spread | Irreproducible | Wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What the notes print at one place, one number or a few.

    Attributes:
        name: What it is.
        printed: As the notes print it, number by number; empty where they print nothing.
        quantities: Which of ours stand beside it; as many, unless nothing or words are printed.
        rule: When ours counts as theirs.
        source: Where it stands in the notes.
    """

    name: str
    printed: tuple[str, ...] = ()
    quantities: tuple[str, ...]
    rule: Rule
    source: str

    def __post_init__(self) -> None:
        numeric = bool(self.printed) and all(_NUMBER.fullmatch(text) for text in self.printed)
        if numeric and self.quantities and len(self.printed) != len(self.quantities):
            raise FigureError(
                f"figure {self.name!r} has {len(self.printed)} printed numbers, but {len(self.quantities)} quantities; "
                "give one each"
            )
        if not numeric and isinstance(self.rule, (Digits, Near, Spread, Wrong)):
            raise FigureError(
                f"figure {self.name!r} prints {self.printed}, but numbers were expected for "
                f"{type(self.rule).__name__}; give another rule"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A figure, judged.

    Attributes:
        figure: What was judged.
        ours: Our numbers, each written as the notes write theirs.
        verdict: What came out.
        band: What was allowed and why, or why nothing could be; empty where every digit is asked for.
    """

    figure: Figure
    ours: tuple[str, ...]
    verdict: Verdict
    band: str


def judge(figure: Figure, values: Mapping[str, float], seeds: Mapping[str, Sequence[float]] | None = None) -> Judgement:
    """Judge one figure; a quantity that was not measured, and NaN, are missed.

    Args:
        figure: What the notes print.
        values: Our numbers by quantity.
        seeds: By quantity our numbers over seeds, for `Spread`.
    """
    found = [values.get(quantity) for quantity in figure.quantities]
    texts = figure.printed if len(figure.printed) == len(found) else ("",) * len(found)
    ours = tuple(
        NOT_MEASURED if value is None else write_like(text, value) for text, value in zip(texts, found, strict=True)
    )
    if isinstance(figure.rule, Irreproducible):
        return Judgement(figure=figure, ours=ours, verdict="not reproducible", band=figure.rule.why)
    known = [value for value in found if value is not None]
    same = ours == figure.printed
    band, inside = _band(figure, known, seeds or {})
    if len(known) < len(found) or not found:
        verdict: Verdict = "missed"
    elif isinstance(figure.rule, Wrong):
        verdict = "missed" if same or not all(map(math.isfinite, known)) else "corrected"
    else:
        verdict = "exact" if same else "band" if inside else "missed"
    return Judgement(figure=figure, ours=ours, verdict=verdict, band=band)


def write_like(printed: str, value: float) -> str:
    """Write a number with as many decimals as a printed one has; with four digits beside words or nothing."""
    if not _NUMBER.fullmatch(printed):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
    text = f"{value:.{len(printed.partition('.')[2])}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def _band(figure: Figure, known: Sequence[float], seeds: Mapping[str, Sequence[float]]) -> tuple[str, bool]:
    """Return what is allowed, in words, and whether it holds."""
    match figure.rule:
        case Near(tolerance=tolerance, why=why):
            pairs = zip(map(float, figure.printed), known, strict=False)
            return f"±{tolerance:g}: {why}", all(abs(value - printed) <= tolerance for printed, value in pairs)
        case Range(low=low, high=high, why=why):
            return f"{low:g} to {high:g}: {why}", all(low <= value <= high for value in known)
        case Spread(why=why):
            limits = [spread_limits(seeds.get(quantity, ())) for quantity in figure.quantities]
            words = ", ".join(f"{low:.3g} to {high:.3g}" for low, high in limits)
            inside = (low <= float(text) <= high for text, (low, high) in zip(figure.printed, limits, strict=False))
            return f"{words}: {why}", all(inside)
        case Wrong(why=why):
            return why, False
    return "", False


def spread_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean minus and plus three standard deviations; NaN, which holds nothing, where they tell of none."""
    if len(values) < 3 or not all(map(math.isfinite, values)):
        return math.nan, math.nan
    return mean(values) - SPREAD_STDS * stdev(values), mean(values) + SPREAD_STDS * stdev(values)
