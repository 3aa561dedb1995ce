"""What a person reads on stdout: the tables of parity, and how all tables name things."""

import math
import sys
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluate.certificate import Certificate, Comparison, GraphVerdict
from serve.parity import MAX_FACTOR, RMSE_FACTOR

_PIPE_WIDTH = 132
_MIB = 2**20
_STYLE = {"pass": "green", "fail": "bold red", "unproven": "yellow"}


def stdout_console() -> Console:
    """Return a console on stdout, wide enough for the tables where stdout is a file or a pipe."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH, soft_wrap=False)


def print_certificate(certificate: Certificate, console: Console) -> None:
    """Print the verdict, then what it rests on."""
    setting = certificate.setting
    console.print(f"parity of {certificate.name}, bundle {certificate.bundle_sha256[:16]}")
    console.print(f"reference: the eager module in float64; held-out samples: {setting.held_out_source}")
    if setting.mode == "quick":
        console.print(
            "[yellow]quick: few samples and batch sizes, no decision boundary, ONNX only as it is served[/]",
            markup=True,
        )
    for check in certificate.checks:
        if not check.passed:
            console.print(f"[bold red]{check.name}: {escape(check.detail)}[/]", markup=True)
        elif check.name == "recipe":
            console.print(check.detail, markup=False)
    for sentence in setting.skipped:
        console.print(f"left out: {sentence}", markup=False)
    labelled = setting.labelled
    if labelled is not None:
        right, common = 100 * labelled.right / labelled.rows, 100 * labelled.commonest / labelled.rows
        unlike = "" if right > common else "[yellow]; is the order of the labels that of the network's outputs?[/]"
        console.print(
            f"PyTorch itself gets {labelled.right} of {labelled.rows} labelled samples right, {right:.1f} %; "
            f"the commonest class alone is {common:.1f} %{unlike}",
            markup=True,
        )
    table = Table(title_justify="left", expand=False)
    table.add_column("graph")
    table.add_column("provider")
    table.add_column("inputs")
    table.add_column("rows", justify="right")
    table.add_column(f"rmse / eager's\n(at most {RMSE_FACTOR:g})", justify="right")
    table.add_column(f"max / eager's\n(at most {MAX_FACTOR:g})", justify="right")
    table.add_column("flips", justify="right")
    table.add_column("verdict")
    for graph in certificate.graphs:
        groups = [list(group) for _, group in groupby(graph.comparisons, key=lambda c: c.input_set)]
        for index, group in enumerate(groups):
            first = index == 0
            table.add_row(
                graph.graph if first else "",
                _where(graph) if first else "",
                *_cells(group),
                end_section=index == len(groups) - 1,
            )
    if table.row_count:
        console.print(table)
    for graph in certificate.graphs:
        where = _where(graph).replace("\n", " ")
        console.print(f"{graph.graph} on {where}: [{_STYLE[graph.verdict]}]{escape(_summary(graph))}[/]")
        if graph.note:
            console.print(f"  {graph.note}", markup=False)
    passed = certificate.passed
    reduced = sorted(set(certificate.precisions) - {"float32"})
    console.print(
        "[bold green]parity holds[/]: every graph is as close to the truth as PyTorch itself"
        + (f", and {' and '.join(reduced)} within the bounds of reduced precision" if reduced else "")
        if passed
        else "[bold red]parity fails[/]: this bundle is not the model that was trained"
        if any(graph.verdict == "fail" for graph in certificate.graphs) or not all(c.passed for c in certificate.checks)
        else "[bold yellow]parity is unproven[/]: nothing contradicts it, but the comparison could not have"
    )


def _cells(group: list[Comparison]) -> tuple[str, str, str, str, str, str]:
    """Sum up one input set: the worst of its outputs and batch sizes."""
    sizes = sorted({comparison.batch_size for comparison in group})
    name = group[0].input_set + (f", batch {', '.join(map(str, sizes))}" if len(sizes) > 1 else "")
    flips = [comparison.flips for comparison in group if comparison.flips is not None]
    verdict = next((v for v in ("fail", "unproven") if any(c.verdict == v for c in group)), "pass")
    return (
        name,
        _rows(group),
        _worst([(c.rmse, c.rmse_bound) for c in group], RMSE_FACTOR),
        _worst([(c.max_error, c.max_bound) for c in group], MAX_FACTOR),
        str(sum(flips)) if flips else "",
        f"[{_STYLE[verdict]}]{verdict}[/]",
    )


def _rows(group: list[Comparison]) -> str:
    """Return how many rows were compared at each batch size, and how many at most were judged apart."""
    counts = sorted({comparison.rows for comparison in group})
    rows = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    apart = max(comparison.rows_apart for comparison in group)
    return f"{rows}, {apart} apart" if apart else rows


def _worst(pairs: list[tuple[float | None, float | None]], factor: float) -> str:
    """Return the greatest error as a multiple of eager's own."""
    known = [(error, bound) for error, bound in pairs if error is not None and bound is not None]
    if len(known) < len(pairs):
        return "-"
    times = max(0.0 if error == 0 else factor * error / bound if bound else math.inf for error, bound in known)
    return f"{times:.2f}" if times < 1000 else f"{times:.3g}"


def _where(graph: GraphVerdict) -> str:
    return short(graph.provider) + ("" if graph.optimized else ",\nas written")


def short(provider: str) -> str:
    """Return ONNX Runtime's provider name without what all of them end in."""
    return provider.removesuffix("ExecutionProvider")


def size(size_bytes: int) -> str:
    """Return the size of a file for people."""
    return f"{size_bytes / _MIB:.2f} MiB" if size_bytes >= _MIB / 10 else f"{size_bytes / 2**10:.1f} KiB"


def _summary(graph: GraphVerdict) -> str:
    if graph.verdict != "pass" or graph.reduced is not None:
        return f"{graph.verdict}, {graph.reason}"
    held_out = graph.comparisons[0]
    if held_out.flips is None:
        what = f"{held_out.rows} rows of {held_out.input_set}"
        return f"pass, greatest error {held_out.max_error:.3g} in {what}, in the unit of {held_out.output}"
    share, bound = held_out.unflippable_share or 0.0, held_out.flip_rate_upper_95 or 0.0
    return (
        f"pass, {held_out.flips} flips in {held_out.rows} rows of {held_out.input_set} "
        f"(at 95 % confidence below {100 * bound:.2f} %), {100 * share:.2f} % of them certified unflippable"
    )
