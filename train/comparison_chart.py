"""The chart of several runs: their curves, four panels, and their results as bars."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from train.run import EpochMetrics, Run, kept_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECADES = 2.0  # losses that span more are drawn on a logarithmic scale
EPOCHS_APART = 20  # where one run has so many times the epochs of another, the epochs are, too


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRun:
    """What is drawn of one run, under which name."""

    name: str
    run: Run
    history: Sequence[EpochMetrics]


def draw_comparison(runs: Sequence[ChartRun]) -> bytes:
    """Draw loss and accuracy of both splits over the epochs, and as bars the result and the time, as a PNG."""
    from matplotlib.figure import Figure

    has_accuracy = runs[0].history[0].test_top1_accuracy is not None
    figure_rows = 3 if has_accuracy else 2
    bar_height = max(2.2, 0.9 + 0.35 * len(runs))
    heights = [3.4] * (figure_rows - 1) + [bar_height]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    panels = figure.subplots(figure_rows, 2, gridspec_kw={"height_ratios": heights})
    _draw_curves(panels[0], runs, "_loss", "loss")
    if has_accuracy:
        _draw_curves(panels[1], runs, "_top1_accuracy", "accuracy, per cent")
    last = [kept_metrics(entry.run, entry.history) for entry in runs]
    names = [entry.name for entry in runs]
    if has_accuracy:
        _draw_bars(
            panels[-1][0], names, [100 * (m.test_top1_accuracy or 0) for m in last], "test accuracy, per cent", "{:.2f}"
        )
        panels[-1][0].set_xlim(0, 115)
    else:
        _draw_bars(panels[-1][0], names, [metrics.test_loss for metrics in last], "test loss", "{:.4g}")
    _draw_bars(panels[-1][1], names, [entry.run.duration_s for entry in runs], "seconds of training", "{:.1f}")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(runs)), frameon=False)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=120)
    return target.getvalue()


def _draw_curves(pair: Sequence["Axes"], runs: Sequence[ChartRun], ending: str, label: str) -> None:
    """Draw one figure of the training and of the test split side by side, on the same scale."""
    from matplotlib.ticker import MaxNLocator

    scale = 1 if ending == "_loss" else 100
    everything: list[float] = []
    for axes, split in zip(pair, ("train", "test"), strict=True):
        for index, entry in enumerate(runs):
            values = [scale * getattr(metrics, split + ending) for metrics in entry.history]
            everything += values
            epochs = [metrics.epoch for metrics in entry.history]
            axes.plot(epochs, values, color=f"C{index % 10}", label=entry.name, marker="o" if len(epochs) <= 20 else "")
        axes.set_title(f"{split} {label.split(',')[0]}")
        axes.set_ylabel(label)
        lengths = [len(entry.history) for entry in runs]
        if max(lengths) > EPOCHS_APART * min(lengths):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:.0f}")
            axes.set_xlabel("epoch, logarithmic")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel("epoch")
        axes.grid(visible=True, alpha=0.3)
    if ending == "_loss" and min(everything) > 0 and math.log10(max(everything) / min(everything)) > DECADES:
        for axes in pair:
            axes.set_yscale("log")
    low = min(axes.get_ylim()[0] for axes in pair)
    high = max(axes.get_ylim()[1] for axes in pair)
    for axes in pair:
        axes.set_ylim(low, high)


def _draw_bars(axes: "Axes", names: Sequence[str], values: Sequence[float], label: str, form: str) -> None:
    bars = axes.barh(range(len(names)), values, color=[f"C{index % 10}" for index in range(len(names))])
    axes.bar_label(bars, [form.format(value) for value in values], padding=3)
    axes.set_yticks(range(len(names)), [name if len(name) <= 24 else f"…{name[-23:]}" for name in names])
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.margins(x=0.15)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="x", alpha=0.3)
