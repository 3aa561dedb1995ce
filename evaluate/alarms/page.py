"""The page of the measurement: recipes by formats, false alarms with their bound, and what reduced precision costs."""

import os
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]

from evaluate.alarms.examine import MOST_EPOCHS, REDUCED
from evaluate.alarms.result import Graph, Result, Settings
from evaluate.compare import interval
from evaluate.in_process import HOLDS
from train.whole_file import write_whole


def write_page(path: Path, results: Sequence[Result], *, settings: Settings, missing: Mapping[str, str]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: Markdown file.
        results: One per recipe and seed, in order.
        settings: What all of them were made with.
        missing: Why recipes were left out, by name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page(results, settings=settings, missing=missing).encode())


def headline(results: Sequence[Result]) -> str:
    """Return the sentence with the number of false alarms and its bound."""
    trials = [graph for result in results for graph in result.graphs if graph.precision == "float32" and not graph.copy]
    alarms = sum(not graph.passed for graph in trials)
    if not trials:
        return "No graph was judged."
    high = 100 * interval(alarms, len(trials))[1]
    ended = sum(result.exact_exit_code == HOLDS for result in results)
    return (
        f"{alarms} false alarms in {len(trials)} right float32 graphs, with 95 % confidence at most {high:.2f} %; "
        f"exit code 0 on {ended} of {len(results)} bundles."
    )


def page(results: Sequence[Result], *, settings: Settings, missing: Mapping[str, str]) -> str:
    """Return the page's text."""
    exact = tuple(name for name in settings.formats if name not in REDUCED)
    reduced = tuple(name for name in settings.formats if name in REDUCED)
    seeds = sorted({result.seed for result in results})
    hours = sum(result.train_s + result.export_s + result.parity_s for result in results) / 3600
    by_recipe = {name: list(group) for name, group in groupby(results, key=lambda result: result.recipe)}
    versions = settings.versions | {"onnxruntime": onnxruntime.__version__}  # of one name and several packages
    revisions = sorted({(result.source_revision or "no checkout")[:12] for result in results})
    lines = [
        "# False alarms: every recipe, every format, several seeds",
        "",
        "Written by `python -m evaluate alarms --page docs/alarms.md`, which goes on where it was stopped.",
        "Each recipe is trained with each seed, exported in every format, and judged by `python -m evaluate parity` in",
        "full, on the CPU. All of these exports are right: whatever parity does not take is a false alarm.",
        "",
        f"**{headline(results)}**",
        "",
        f"{len(by_recipe)} recipes with {len(seeds)} seeds, in {hours:.1f} hours.",
        "The interval is Clopper and Pearson's, two-sided, as if graphs were independent; those of one network are not",
        f"quite. {_of_onnx(results)}",
        "",
        "Each cell is the greatest error over all seeds, outputs and input sets, as a share of what is allowed:",
        "1.00 is the bound ([the rule](parity.md)). ONNX is run as ONNX Runtime rewrites it and as it was written, and",
        "the worse one counts. Triton's graph is not run once more: it has the very bytes of `graph.onnx`,",
        "and does not count once more. A cell above 1.00 passes where ONNX Runtime alone is to blame: the same graph",
        "keeps the bounds when ONNX's reference implementation runs it ([how](parity.md#what-is-compared)).",
        "",
        *_table(("recipe", "seeds", "epochs", *exact, "exit 0"), [_exact_row(r, exact) for r in by_recipe.values()]),
        "",
        *_caps(results),
        "## Reduced precision",
        "",
        *(_reduced(by_recipe, reduced) if reduced else ["None was asked for.", ""]),
        "## False alarms",
        "",
        *(_alarms(results) or ["None.", ""]),
        *_left_out(results, missing),
        f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores.",
        f"Source: {', '.join(revisions)}.",
    ]
    return "\n".join(lines).rstrip() + "\n"


def _of_onnx(results: Sequence[Result]) -> str:
    """Say the same of ONNX alone: the other formats run PyTorch's own kernels."""
    graphs = [graph for result in results for graph in result.graphs if graph.format == "onnx"]
    if not graphs:
        return "There is no ONNX graph among them."
    alarms = sum(not graph.passed for graph in graphs)
    excused = sum(graph.passed and (graph.ratio or 0.0) > 1 for graph in graphs)
    return (
        f"TorchScript and exported programs run PyTorch's own kernels, so ONNX alone tells more: {alarms} in "
        f"{len(graphs)}, at most {100 * interval(alarms, len(graphs))[1]:.2f} %; {excused} of these graphs pass only "
        "because the runtime's rounding is told from the graph's."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _exact_row(results: Sequence[Result], formats: Sequence[str]) -> list[str]:
    first = results[0]
    held = sum(result.exact_exit_code == HOLDS for result in results)
    return [
        f"`{first.recipe}`",
        str(len(results)),
        str(first.epochs) if first.epochs == first.planned else f"{first.epochs} of {first.planned}",
        *(_ratio([graph for result in results for graph in result.graphs if graph.format == name]) for name in formats),
        f"{held} / {len(results)}" if held == len(results) else f"**{held} / {len(results)}**",
    ]


def _ratio(graphs: Sequence[Graph]) -> str:
    if not graphs:
        return ""
    ratios = [graph.ratio for graph in graphs if graph.ratio is not None]
    text = f"{max(ratios):.2f}" if ratios else "no number"
    wrong = [graph.verdict for graph in graphs if not graph.passed]
    return f"**{text}, {len(wrong)} {min(wrong)}**" if wrong else text


def _caps(results: Sequence[Result]) -> list[str]:
    capped = sorted({result.recipe for result in results if result.epochs < result.planned} & set(MOST_EPOCHS))
    if not capped:
        return []
    return [f"For fewer epochs than their own, which take more than about 20 s: {', '.join(capped)}.", ""]


def _reduced(by_recipe: Mapping[str, Sequence[Result]], formats: Sequence[str]) -> list[str]:
    header = ["recipe"]
    for name in formats:
        header += [f"{name}: pass", "greatest drop, points", "most flips, %", "least signal, dB"]
    rows = [
        [f"`{name}`", *(cell for one in formats for cell in _reduced_cells(results, one))]
        for name, results in by_recipe.items()
    ]
    return [
        "float16 and int8 cannot be numerically equal, and a small network may lose accuracy by them: that is a drop,",
        "and no false alarm. The drop is of accuracy on the test split, and at most 0.50 points pass; below 0, the",
        "graph is right more often than PyTorch. A regression has none, and is judged by signal to error alone.",
        "",
        *_table(header, rows),
        "",
        *_reasons(by_recipe, formats),
    ]


def _reduced_cells(results: Sequence[Result], name: str) -> list[str]:
    graphs = [graph for result in results for graph in result.graphs if graph.format == name]
    if not graphs:
        return ["", "", "", ""]
    drops = [100 * graph.drop for graph in graphs if graph.drop is not None]
    flips = [100 * graph.flip_share for graph in graphs if graph.flip_share is not None]
    signals = [graph.sqnr_db for graph in graphs if graph.sqnr_db is not None]
    return [
        f"{sum(graph.passed for graph in graphs)} / {len(graphs)}",
        f"{max(drops):.2f}" if drops else "",
        f"{max(flips):.2f}" if flips else "",
        f"{min(signals):.0f}" if signals else "",
    ]


def _reasons(by_recipe: Mapping[str, Sequence[Result]], formats: Sequence[str]) -> list[str]:
    """Say once for each recipe and format why it does not pass, or why it was not written."""
    lines = []
    for name, results in by_recipe.items():
        for one in formats:
            wrong = [(r.seed, g) for r in results for g in r.graphs if g.format == one and not g.passed]
            if wrong:
                seeds = ", ".join(str(seed) for seed, _ in wrong)
                seed, graph = wrong[0]
                counted = "seed" if len(wrong) == 1 else "seeds"
                lines.append(f"- {one} of {name}, {counted} {seeds}; of seed {seed}: {graph.verdict}, {graph.reason}")
            refused = next((result.refused[one] for result in results if one in result.refused), None)
            if refused is not None:
                lines.append(f"- {one} of {name} is not written: {refused}")
    return [*lines, ""] if lines else []


def _alarms(results: Sequence[Result]) -> list[str]:
    found: dict[str, list[str]] = defaultdict(list)
    for result in results:
        said = [f"{graph.format}: {graph.verdict}, {graph.reason}" for graph in result.alarms]
        said += result.wrong
        if not said and result.failure is None and not result.passed:
            said = [f"exit code {result.exact_exit_code}"]
        found[result.name] += said
    lines = [f"- {name}: {sentence}" for name, said in found.items() for sentence in said]
    return [*lines, ""] if lines else []


def _left_out(results: Sequence[Result], missing: Mapping[str, str]) -> list[str]:
    lines = [f"- {name}: {why}" for name, why in missing.items()]
    lines += [f"- {result.name}: {result.failure}" for result in results if result.failure is not None]
    return ["## Not examined", "", *lines, ""] if lines else []
