"""Learning curves: as a PNG, in a notebook, and as text for a terminal."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from train.run import CURVES, EpochMetrics, Run, kept_metrics, read_metrics, read_run

BARS = "▁▂▃▄▅▆▇█"
TEXT_WIDTH = 48
MARKERS = {"train": "o", "test": "s", "validation": "^"}
SHORT_NAMES = {"validation": "valid"}
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The curves of one run; the last expression of a notebook cell shows them as a picture, `print` as text.

    Attributes:
        png: The picture: that of `curves.png`, or drawn anew where that is missing or damaged.
        text: The same in characters.
    """

    png: bytes = field(repr=False)
    text: str

    def _repr_png_(self) -> bytes:
        return self.png

    def __str__(self) -> str:
        return self.text


def show_curves(run_path: Path | str) -> Curves:
    """Read a run's curves, to be shown in a notebook or printed; the picture is drawn anew where it is lost.

    Raises:
        RunError: there is no run at the path, or it lacks its metrics.
    """
    path = Path(run_path)
    run, history = read_run(path), read_metrics(path)
    try:
        png = (path / CURVES).read_bytes()
    except OSError:
        png = b""
    if not (png.startswith(PNG_START) and png.endswith(PNG_END)):
        png = draw_png(history, title=title_of(run, history), kept_epoch=run.best_epoch)
    return Curves(png=png, text=draw_text(history))


def title_of(run: Run, history: Sequence[EpochMetrics]) -> str:
    """Say in one line what a run is and how good it got."""
    stopped = "" if run.finished else f", stopped after {run.epochs_done} of {run.epochs} epochs"
    metrics = kept_metrics(run, history)
    accuracy = metrics.test_top1_accuracy
    result = f"test loss {metrics.test_loss:.4g}" if accuracy is None else f"{accuracy:.2%} of the test split right"
    return f"{run.recipe or run.factory}: {result}{stopped}"


def draw_png(history: Sequence[EpochMetrics], *, title: str, kept_epoch: int | None = None) -> bytes:
    """Draw loss and accuracy of every split over the epochs, as a PNG.

    Args:
        history: The epochs.
        title: Over the picture.
        kept_epoch: Marked by a line where it was chosen; None where the last one is kept.
    """
    # Figure alone, without pyplot: no global state, no window system, the same picture everywhere
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [metrics.epoch for metrics in history]
    panels = _panels(history)
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    figure.suptitle(title)
    for axes, (label, scale, ending, _) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name in _splits(history):
            style = {"marker": MARKERS[name], "markersize": 4 if len(epochs) <= 20 else 0, "label": name}
            axes.plot(epochs, [scale * getattr(metrics, name + ending) for metrics in history], **style)
        if kept_epoch is not None:
            axes.axvline(kept_epoch, color="0.4", linestyle=":", label=f"kept: epoch {kept_epoch}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=120)
    return target.getvalue()


def draw_text(history: Sequence[EpochMetrics]) -> str:
    """Draw the curves in block characters: one line per curve, the splits of a figure on the same scale.

    Each line reads: first value, curve, last value. More epochs than fit are thinned out, the last is always shown.
    """
    lines = []
    for label, scale, ending, form in _panels(history):
        curves = {name: [scale * getattr(m, name + ending) for m in history] for name in _splits(history)}
        low, high = min(map(min, curves.values())), max(map(max, curves.values()))
        for name, values in curves.items():
            bars = "".join(_bar(value, low, high) for value in _thin(values, TEXT_WIDTH))
            lines.append(f"{label:<10} {SHORT_NAMES.get(name, name):<5} {values[0]:{form}} {bars} {values[-1]:{form}}")
    return "\n".join(lines)


def _panels(history: Sequence[EpochMetrics]) -> list[tuple[str, float, str, str]]:
    """Return label, scale, field ending and number format of each figure; a regression has no accuracy."""
    panels = [("loss", 1.0, "_loss", "8.4f")]
    if history[0].test_top1_accuracy is not None:
        panels.append(("accuracy %", 100.0, "_top1_accuracy", "8.2f"))
    return panels


def _splits(history: Sequence[EpochMetrics]) -> list[str]:
    """Return the splits that every epoch was measured on."""
    measured = all(metrics.validation_loss is not None for metrics in history)
    return ["train", "test", *(["validation"] if measured else [])]


def _bar(value: float, low: float, high: float) -> str:
    return BARS[round((value - low) / (high - low) * (len(BARS) - 1))] if high > low else BARS[0]


def _thin(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    return [values[round(place * (len(values) - 1) / (width - 1))] for place in range(width)]
