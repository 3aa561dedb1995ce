"""Rows a second and latency by batch size, a line a runner."""

from collections.abc import Callable
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from evaluate.bench.result import Bench, BenchRow
from evaluate.bench.table import label
from train.pictures.layout import FONT, MARKERS, house_style, legend_below, new_figure, render, wrap
from train.pictures.picture import Picture

_WIDTH, _HEIGHT = 10.0, 4.6
# of different lightness and hue, in an order in which neighbours differ most; the markers say the same without colour
_COLOURS = (
    "#1b1b1b",
    "#d1495b",
    "#1f4e9c",
    "#2b9348",
    "#e08e0b",
    "#7a3e9d",
    "#00809d",
    "#8a5a2b",
    "#c2185b",
    "#5c6b00",
)


@house_style()
def draw_bench(bench: Bench) -> Picture:
    """Draw a measurement."""
    figure = new_figure(_WIDTH, _HEIGHT)
    rate, latency = figure.subplots(1, 2)
    _panel(rate, bench, "rows a second", lambda row: row.rows_per_s, None)
    _panel(latency, bench, "milliseconds a batch, with the middle half", lambda row: row.median_ms, _spread)
    title = (
        f"{bench.name}: median of each runner; {bench.machine}; threads: torch {bench.torch_threads}, "
        f"ONNX Runtime {bench.onnxruntime_threads}"
    )
    figure.suptitle(wrap(title, inches=_WIDTH), fontsize=FONT + 1)
    legend_below(figure, rate)
    return render(figure, f"{bench.name}: rows a second and milliseconds a batch, by batch size")


def _spread(row: BenchRow) -> tuple[float, float]:
    return row.median_ms - row.quartile_ms[0], row.quartile_ms[1] - row.median_ms


def _panel(
    axes: Axes,
    bench: Bench,
    title: str,
    value: Callable[[BenchRow], float],
    spread: Callable[[BenchRow], tuple[float, float]] | None,
) -> None:
    sizes = sorted({row.batch_size for row in bench.rows})
    names = list(dict.fromkeys(label(row.runner, row.provider) for row in bench.rows))
    ordered = sorted(bench.rows, key=lambda row: (names.index(label(row.runner, row.provider)), row.batch_size))
    for index, (name, group) in enumerate(groupby(ordered, key=lambda row: label(row.runner, row.provider))):
        rows = list(group)
        axes.errorbar(
            [row.batch_size for row in rows],
            [value(row) for row in rows],
            yerr=None if spread is None else list(zip(*map(spread, rows), strict=True)),
            label=name,
            color=_COLOURS[index % len(_COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle="--" if name == "eager" else "-",
            markersize=5,
            linewidth=1.4,
            capsize=2,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("batch size, rows")
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
