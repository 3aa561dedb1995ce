"""The table of parity: how far each graph is from the truth, in each way it is run, on each set of inputs."""

from collections.abc import Collection

from rich.console import Console
from rich.table import Table

from evaluate.certificate import Setting
from evaluate.fitting_table import width_needed
from evaluate.graph_verdict import Comparison, GraphVerdict, Verdict
from evaluate.ratios import max_multiple, rmse_multiple
from evaluate.tables import short, way

STYLE: dict[Verdict, str] = {"fail": "bold red", "unproven": "yellow", "pass": "green"}  # worst first
_INPUTS_WIDTH = 24
_MANY = 1000


def print_table(groups: list[list[GraphVerdict]], setting: Setting, console: Console) -> None:
    """Print the whole table, or on a narrow console a line of each graph and way.

    Args:
        groups: The ways of each graph on each provider.
        setting: What the names of the ways rest on.
        console: Its width decides.
    """
    table = _wide(groups, setting)
    inputs = table.columns[1]  # the one column whose text may stand on several lines
    inputs.max_width = _INPUTS_WIDTH
    needed = width_needed(console, table)
    inputs.max_width = None
    if needed <= console.width:
        console.print(table)
        return
    console.print(_narrow(groups, setting))
    console.print("of all inputs the worst; on a wider terminal each set of inputs has its line", markup=False)


def _narrow(groups: list[list[GraphVerdict]], setting: Setting) -> Table:
    """Make one line of each way under the name of its graph, with the worst of all input sets."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("graph", no_wrap=True)
    for title in ("rmse", "max"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for group in groups:
        table.add_row(f"{group[0].graph} on {short(group[0].provider)}")
        for graph in group:
            every = list(graph.comparisons)
            found = (rmse_multiple(every), max_multiple(every)) if every else ()
            cells = [_times(times).strip() for times in found] or ["", ""]
            table.add_row(f"  {way(graph, setting)}", *cells, _verdict({graph.verdict}))
    return table


def _wide(groups: list[list[GraphVerdict]], setting: Setting) -> Table:
    """Make one section of each graph on each provider, one line of each input set, one column of each way."""
    ways = list(dict.fromkeys(way(graph, setting) for group in groups for graph in group))
    table = Table(title_justify="left", expand=False)
    table.add_column("graph", no_wrap=True)
    table.add_column("inputs", min_width=_INPUTS_WIDTH)
    table.add_column("rows", justify="right", no_wrap=True)
    for title in ways:
        table.add_column(title.replace(", ", ",\n"), justify="right", no_wrap=True)
    table.add_column("flips", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for group in groups:
        of_way = {way(graph, setting): graph for graph in group}
        sets = list(dict.fromkeys(c.input_set for graph in group for c in graph.comparisons))
        names = [group[0].graph, f"on {short(group[0].provider)}"]
        for index, name in enumerate(sets):
            found = [
                [c for c in of_way[title].comparisons if c.input_set == name] if title in of_way else []
                for title in ways
            ]
            every = [comparison for own in found for comparison in own]
            table.add_row(
                names[index] if index < len(names) else "",
                _inputs(every),
                _rows(every),
                *(_errors(own) for own in found),
                _flips(found),
                _verdict({comparison.verdict for comparison in every}),
                end_section=index == len(sets) - 1,
            )
    return table


def _inputs(comparisons: list[Comparison]) -> str:
    sizes = sorted({comparison.batch_size for comparison in comparisons})
    return comparisons[0].input_set + (f", batch {', '.join(map(str, sizes))}" if len(sizes) > 1 else "")


def _rows(comparisons: list[Comparison]) -> str:
    """Return how many rows were compared at each batch size, and how many at most were judged apart."""
    counts = sorted({comparison.rows for comparison in comparisons})
    rows = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    apart = max(comparison.rows_apart for comparison in comparisons)
    return f"{rows}, {apart} apart" if apart else rows


def _errors(comparisons: list[Comparison]) -> str:
    """Sum up one input set in one way: the worst of its outputs and batch sizes."""
    if not comparisons:
        return ""
    return " ".join(_times(times) for times in (rmse_multiple(comparisons), max_multiple(comparisons)))


def _times(times: float | None) -> str:
    return "    -" if times is None else f"{times:5.2f}" if times < _MANY else f"{times:5.3g}"


def _flips(found: list[list[Comparison]]) -> str:
    """Return the flips in the way that has most."""
    flips = [[c.flips for c in own if c.flips is not None] for own in found]
    return str(max(sum(own) for own in flips)) if any(flips) else ""


def _verdict(verdicts: Collection[Verdict]) -> str:
    verdict = worst_verdict(verdicts)
    return f"[{STYLE[verdict]}]{verdict}[/]"


def worst_verdict(verdicts: Collection[Verdict]) -> Verdict:
    """Return the verdict that counts where there are several."""
    return min(verdicts, key=list(STYLE).index)
