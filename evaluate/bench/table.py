"""What a person reads of a measurement: 100 columns at most."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from evaluate.bench.others import warning
from evaluate.bench.result import Bench, BenchRow, Peak, RunnerCost, Scenario
from evaluate.fitting_table import print_fitting
from evaluate.tables import short, size

_GIGA = 1e9
_MIB = 2**20
_NS_PER_MS = 1e6
_P99 = "99.00 percentile latency (ns)"
_MANY, _FEW = 1e5, 100


def print_bench(bench: Bench, console: Console) -> None:
    """Print how fast every runner is, what it costs, and what was left out."""
    versions = ", ".join(f"{name} {version}" for name, version in bench.libraries.items())
    _say(console, f"{bench.name}, bundle {bench.bundle_sha256[:16]}; {bench.machine}; {versions}")
    _say(
        console,
        f"threads: torch {bench.torch_threads}, ONNX Runtime {bench.onnxruntime_threads}; runners in turn, "
        f"about {bench.seconds:g} s each at most",
    )
    print_fitting(console, _times(bench.rows))
    if any(row.speed_interval_95 for row in bench.rows):
        _say(console, "x eager: eager's median over this one's, with the 95 % bootstrap interval over rounds")
    if any(cost.start_s is not None or cost.peak_bytes is not None for cost in bench.runners):
        print_fitting(console, _costs(bench.runners))
    for sentence in (*_trials(bench), *map(_peak, bench.peaks)):
        _say(console, sentence)
    if bench.flops_per_row:
        _say(console, f"one row is {_si(bench.flops_per_row)}FLOP in products, counted")
    for sentence in bench.left_out:
        _say(console, sentence)
    busy = warning(bench.busy_cpus)
    if busy is not None:
        _say(console, busy)
    for scenario in bench.scenarios:
        for sentence in _scenario(scenario):
            _say(console, sentence)


def _times(rows: Sequence[BenchRow]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("runner")
    table.add_column("median ms", justify="right")
    table.add_column("middle half", justify="right")
    table.add_column("rows/s", justify="right")
    table.add_column("x eager", justify="right")
    shares = any(row.share_of_bytes is not None for row in rows)
    if shares:
        table.add_column("of peak\nFLOP/s", justify="right")
        table.add_column("of peak\nbytes/s", justify="right")
    for batch_size, group in groupby(rows, key=lambda row: row.batch_size):
        here = list(group)
        table.add_section()
        table.add_row(f"batch {batch_size}, {here[0].rounds} rounds", style="bold")
        for row in here:
            low, high = row.quartile_ms
            cells = [
                label(row.runner, row.provider),
                _digits(row.median_ms),
                f"{_digits(low)}-{_digits(high)}",
                _rate(row.rows_per_s),
                _ratio(row),
            ]
            if shares:
                cells += [_share(row.share_of_flops), _share(row.share_of_bytes)]
            table.add_row(*cells)
    return table


def _costs(costs: Sequence[RunnerCost]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("runner")
    table.add_column("size", justify="right")
    table.add_column("start to\nfirst answer", justify="right")
    compiles = any(cost.compile_s is not None for cost in costs)
    if compiles:
        table.add_column("compiling", justify="right")
    table.add_column("peak memory", justify="right")
    table.add_column("at batch", justify="right")
    for cost in costs:
        cells = [
            label(cost.runner, cost.provider),
            size(cost.size_bytes),
            "" if cost.start_s is None else f"{cost.start_s:.2f} s",
        ]
        if compiles:
            cells.append("" if cost.compile_s is None else f"{cost.compile_s:.1f} s")
        cells.append("" if cost.peak_bytes is None else f"{cost.peak_bytes / _MIB:,.0f} MiB")
        cells.append("" if cost.peak_batch_size is None else str(cost.peak_batch_size))
        table.add_row(*cells)
    return table


def label(runner: str, provider: str) -> str:
    """Return a runner's name, with its provider where that is none of the CPU."""
    return runner if provider in {"torch CPU", "CPUExecutionProvider"} else f"{runner} {short(provider)}"


def _trials(bench: Bench) -> list[str]:
    sentences = []
    for runner, group in groupby(bench.trials, key=lambda trial: trial.runner):
        trials = list(group)
        best = min(trials, key=lambda trial: trial.median_ms)
        tried = ", ".join(f"{trial.threads}: {_digits(trial.median_ms)} ms" for trial in trials)
        sentences.append(f"{runner} is fastest with {_threads(best.threads)} at batch {best.batch_size} ({tried})")
    return sentences


def _threads(count: int) -> str:
    return f"{count} thread" + ("" if count == 1 else "s")


def _peak(peak: Peak) -> str:
    torch = f"{peak.flops_torch / _GIGA:,.0f}"
    other = "" if peak.flops_onnxruntime is None else f", by ONNX Runtime {peak.flops_onnxruntime / _GIGA:,.0f}"
    return (
        f"peak of the {peak.device.upper()}: a large product at {torch} GFLOP/s by torch{other}; "
        f"a large copy at {peak.bytes_per_s / _GIGA:,.1f} GB/s"
    )


def _scenario(scenario: Scenario) -> list[str]:
    verdict = "VALID" if scenario.valid else "INVALID"
    figure, value = scenario.figure, f"{scenario.value:,.1f}"
    if figure.endswith("(ns)"):
        figure, value = figure.removesuffix(" (ns)"), f"{_digits(scenario.value / _NS_PER_MS)} ms"
    p99 = float(scenario.summary.get(_P99, "nan")) / _NS_PER_MS
    tail = f", 99th percentile {_digits(p99)} ms" if scenario.scenario != "Offline" else ""  # it is one query there
    head = f"loadgen {scenario.scenario}, {scenario.graph}: {figure} {value}{tail}; {verdict}"
    return [head, *(f"  {line}" for line in scenario.advice)]


def _ratio(row: BenchRow) -> str:
    if row.speed_interval_95 is None:
        return _times_eager(row.speed_over_eager)
    low, high = row.speed_interval_95
    return f"{_times_eager(row.speed_over_eager)} ({_times_eager(low)}-{_times_eager(high)})"


def _times_eager(value: float) -> str:
    return f"{value:.2f}" if value < 10 else _digits(value)


def _rate(rows_per_s: float) -> str:
    if rows_per_s >= _MANY:
        return f"{rows_per_s / 1000:,.0f} k"
    return f"{rows_per_s:,.0f}" if rows_per_s >= _FEW else f"{rows_per_s:.3g}"


def _share(share: float | None) -> str:
    """Return a share in per cent, to no more digits than it deserves."""
    if share is None:
        return ""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def _digits(value: float) -> str:
    """Return a number with three digits that count."""
    return (
        f"{value:.0f}"
        if value >= 100
        else f"{value:.1f}"
        if value >= 10
        else f"{value:.2f}"
        if value >= 1
        else (f"{value:.3f}")
    )


def _si(value: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g} "


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False)
