"""How figures and their intervals are written into the cells of tables."""

from rich.table import Table

from evaluate.accuracy.record import Estimate, Interval
from evaluate.reduced import PairedDrop


def new_table(*columns: str) -> Table:
    """Return a table with columns of words; those of numbers are added."""
    table = Table()
    for column in columns:
        table.add_column(column)
    return table


def between(value: str, interval: Interval | None, shape: str) -> str:
    """Write a figure over its interval."""
    return value if interval is None else f"{value}\n{interval[0]:{shape}} to {interval[1]:{shape}}"


def percent(value: float, interval: Interval | None) -> str:
    """Write a share in per cent over its interval."""
    if interval is None:
        return f"{100 * value:.2f} %"
    return f"{100 * value:.2f} %\n{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


def share(estimate: Estimate) -> str:
    """Write an estimated share in per cent over its interval."""
    return "-" if estimate.value is None else percent(estimate.value, estimate.interval_95)


def on_line(estimate: Estimate) -> str:
    """Write an estimated share in per cent with its interval on one line."""
    if estimate.value is None:
        return "-"
    if estimate.interval_95 is None:
        return f"{100 * estimate.value:.1f}"
    low, high = estimate.interval_95
    return f"{100 * estimate.value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def number(estimate: Estimate) -> str:
    """Write an estimate over its interval."""
    if estimate.value is None:
        return "-"
    if estimate.interval_95 is None:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f}\n{estimate.interval_95[0]:.3f} to {estimate.interval_95[1]:.3f}"


def points(drop: PairedDrop) -> str:
    """Write how many points of a per cent are lost."""
    low, high = drop.interval_95
    return f"{100 * drop.drop:.2f} ({100 * low:.2f} to {100 * high:.2f})"
