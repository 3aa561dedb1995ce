"""The page of the zoo: time, size, error ratio and verdict of every architecture."""

from collections.abc import Sequence
from pathlib import Path

from evaluate.zoo.known import UPSTREAM
from evaluate.zoo.result import Graph, Result, Settings
from train.whole_file import write_whole

_MIB = 2**20
_GIB = 2**30
_GIGA = 1e9


def write_page(path: Path, results: Sequence[Result], *, settings: Settings, of: int) -> None:
    """Write the page, whole or not at all.

    Args:
        path: Markdown file.
        results: One per architecture that was examined.
        settings: What all of them were made with.
        of: How many architectures there are.
    """
    write_whole(path, page(results, settings=settings, of=of).encode())


def page(results: Sequence[Result], *, settings: Settings, of: int) -> str:
    """Return the page's text."""
    passed = [result for result in results if result.passed]
    machines = sorted({result.machine for result in results})
    revisions = sorted({(result.source_revision or "no checkout")[:12] for result in results})
    peak = max((result.peak_bytes for result in results), default=0)
    hours = sum(result.export_s + result.certify_s for result in results) / 3600
    lines = [
        "# The zoo: every torchvision classifier, exported and certified",
        "",
        "Written by `python -m evaluate zoo`, which goes on where it was stopped. Each architecture gets weights from",
        "a seed (nothing is downloaded): what torchvision sets to zero or one is drawn, too, and batch normalisation",
        "measures its statistics on 32 pictures (96 for `efficientnet_v2_m` and `efficientnet_v2_l`, which 32 leave",
        "chaotic: PyTorch's own logits are off by 0.3, and nothing is proven), so that outputs vary and every part",
        "shows in them; a fresh ViT, whose head is all zero, would agree with anything. Then it takes the user's way:",
        "`python -m export --factory torchvision.models:NAME --weights FILE …`, and `python -m evaluate parity`.",
        "Pictures come from a seed, too.",
        "",
        f"**{len(passed)} of {of} architectures pass in every graph**; {len(results)} were examined, "
        f"in {hours:.1f} hours, with at most {peak / _GIB:.1f} GiB of memory.",
        f"{settings.mode.capitalize()} certificates; seed {settings.seed}. {_sides(settings)}",
        f"Versions: {', '.join(f'{name} {version}' for name, version in settings.versions.items())}.",
        *(f"Machine: {machine}." for machine in machines),
        f"Source: {', '.join(revisions)}.",
        "",
        "Ratios are the greatest rmse, and the greatest error, over all outputs, input sets and batch sizes, as",
        "multiples of PyTorch's own float32 error against float64; at most 3 and 6 pass ([the rule](parity.md)).",
        "Seconds are those of the whole commands, starting Python and importing torch included.",
        "",
        "| architecture | pixels | parameters, M | GFLOP a row | ONNX, MiB | export, s | certificate, s | batches "
        "| ONNX rmse | ONNX max | TorchScript rmse | TorchScript max | peak, GiB | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(result) for result in results),
        "",
        *_failures([result for result in results if not result.passed]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _sides(settings: Settings) -> str:
    if settings.side is not None:
        return f"Pictures have {settings.side} x {settings.side} pixels."
    return (
        "Pictures have 224 x 224 pixels where an architecture is made for that, and 128 x 128\nelsewhere, for speed: "
        "operators and weights are the same."
    )


def _row(result: Result) -> str:
    onnx = [graph for graph in result.graphs if graph.graph.endswith(".onnx")]
    script = [graph for graph in result.graphs if graph.graph.endswith(".pt")]
    sizes = sorted({size for graph in result.graphs for size in graph.batch_sizes})
    cells = (
        f"`{result.name}`",
        str(result.side),
        f"{result.parameters / 1e6:.1f}",
        f"{result.flops / _GIGA:.2f}",
        f"{onnx[0].size_bytes / _MIB:.0f}" if onnx else "",
        f"{result.export_s:.0f}",
        f"{result.certify_s:.0f}",
        " ".join(map(str, sizes)),
        _ratio(onnx, "rmse_ratio"),
        _ratio(onnx, "max_ratio"),
        _ratio(script, "rmse_ratio"),
        _ratio(script, "max_ratio"),
        f"{result.peak_bytes / _GIB:.1f}",
        "pass" if result.passed else "**" + _verdict(result) + "**",
    )
    return f"| {' | '.join(cells)} |"


def _ratio(graphs: Sequence[Graph], field: str) -> str:
    values = [getattr(graph, field) for graph in graphs]
    known = [value for value in values if value is not None]
    return f"{max(known):.2f}" if known and len(known) == len(values) else ""


def _verdict(result: Result) -> str:
    if result.failure is not None:
        return "not written"
    return "fail" if any(graph.verdict == "fail" for graph in result.graphs) else "unproven"


def _failures(results: Sequence[Result]) -> list[str]:
    if not results:
        return []
    lines = ["## What does not pass, and why", ""]
    for result in results:
        said = [result.failure] if result.failure else []
        said += [f"{graph.graph}: {graph.reason}" for graph in result.graphs if graph.verdict != "pass"]
        lines.append(f"- `{result.name}`: {'; '.join(said)}.")
        lines.append(f"  {UPSTREAM.get(result.name, 'The cause is not known.')}")
    return lines
