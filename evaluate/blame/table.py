"""What a person reads of blame on stdout: the culprit, and the nodes around it."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluate.blame.found import Blame, Culprit, Node
from evaluate.fitting_table import print_fitting

AROUND = 10


def print_blame(blame: Blame, console: Console) -> None:
    """Print what was found."""
    console.print(f"blame of {blame.name}, {blame.graph}, on {blame.rows} golden rows", markup=False)
    for difference in blame.weights:
        console.print(f"weights: {difference.sentence}", markup=False)
    if blame.precision != "float32":
        _print_costs(blame, console)
        return
    if blame.nodes:
        print_fitting(console, _table(blame))
    if blame.passed:
        worst = max((node.times_eager or 0 for node in blame.nodes), default=0.0)
        console.print(
            f"[bold green]nothing diverges[/]: every output keeps the rule; of {len(blame.nodes)} values compared, "
            f"the furthest is {worst:.2g} x eager's error from the truth"
        )
        if blame.weights:
            console.print("[yellow]but weights differ, which these rows do not show[/]")
        return
    console.print(f"the outputs diverge: {blame.output}", markup=False)
    culprit = blame.culprit
    if culprit is None:
        console.print(
            "[bold red]no operator adds an error beyond the rule[/]: it is not in the graph as it was written"
        )
        return
    console.print(f"[bold red]culprit[/]: {escape(culprit.sentence)}")
    for name, text in (
        ("module", culprit.path or "the outermost one"),
        ("source", culprit.source),
        ("operation", culprit.pytorch),
        ("error", _before_and_after(culprit)),
        ("outputs", "" if culprit.share is None else f"moved by {culprit.share:.3g} x what is allowed, by it alone"),
        ("found", culprit.detail),
    ):
        if text:
            console.print(f"  {name:<10}{text}", markup=False)


def _before_and_after(culprit: Culprit) -> str:
    if culprit.error_before is None:
        return ""
    return f"before it {_times(culprit.error_before)}, after it {_times(culprit.error_after)}"


def _print_costs(blame: Blame, console: Console) -> None:
    """Print what operators of reduced precision cost."""
    table = Table(expand=False)
    for column in ("node", "module", "source"):
        table.add_column(column)
    table.add_column("moves an output by,\nof its whole error", justify="right")
    for cost in blame.costs:
        call = escape(f"{cost.operator} {cost.node}")
        table.add_row(call, escape(cost.path), escape(cost.source), f"{100 * cost.share:.3g} %")
    if blame.costs:
        print_fitting(console, table)
    console.print(
        f"{blame.graph} computes in {blame.precision}, which no rule holds to float32: nobody is blamed; what it "
        "decides is judged by `python -m evaluate parity`",
        markup=False,
    )


def _table(blame: Blame) -> Table:
    """Return the nodes around the culprit, or where there is none, around the one that adds most."""
    place = blame.place
    if place is None:
        place = max(range(len(blame.nodes)), key=lambda index: blame.nodes[index].added or 0.0)
    first = max(0, min(place - AROUND // 2, len(blame.nodes) - AROUND))
    shown = blame.nodes[first : first + AROUND]
    note = f"{len(shown)} of the {len(blame.nodes)} values compared; --json FILE has all"
    table = Table(expand=False, caption=note if len(shown) < len(blame.nodes) else None, caption_justify="left")
    table.add_column("node")
    table.add_column("module")
    table.add_column("error /\neager's", justify="right")
    table.add_column("it adds /\nallowed", justify="right")
    if blame.culprit is not None:
        table.add_column("found")
    for index, node in enumerate(shown, first):
        marked = index == blame.place and blame.culprit is not None and blame.culprit.fault in {"wrong", "wired"}
        table.add_row(
            escape(_call(node)),
            escape(node.path),
            _number(node.times_eager),
            _number(node.added),
            *([] if blame.culprit is None else ["culprit" if marked else ""]),
            style="bold red" if marked else None,
        )
    return table


def _call(node: Node) -> str:
    return f"{node.operator} {node.node}"


def _number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.3g}"


def _times(value: float | None) -> str:
    return "no number" if value is None else f"{value:.3g} x eager's"
