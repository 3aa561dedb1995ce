"""What a person reads of a certificate on stdout."""

from itertools import groupby

from rich.console import Console
from rich.markup import escape

from evaluate.certificate import Certificate
from evaluate.graph_verdict import GraphVerdict
from evaluate.parity_table import STYLE, print_table, worst_verdict
from evaluate.ratios import worst_search, worst_slack
from evaluate.tables import short, way
from serve.parity import MAX_FACTOR, RMSE_FACTOR


def print_certificate(certificate: Certificate, console: Console) -> None:
    """Print the verdict, then what it rests on."""
    setting = certificate.setting
    console.print(f"parity of {certificate.name}, bundle {certificate.bundle_sha256[:16]}")
    console.print(f"reference: the eager module in float64; held-out samples: {setting.held_out_source}")
    if setting.mode == "quick":
        console.print(
            "[yellow]quick: few samples and batch sizes, no decision boundary, graphs only as they are served[/]",
            markup=True,
        )
    for check in certificate.checks:
        if not check.passed:
            console.print(f"[bold red]{check.name}: {escape(check.detail)}[/]", markup=True)
        elif check.name == "recipe":
            console.print(check.detail, markup=False)
    for sentence in setting.skipped:
        console.print(f"left out: {sentence}", markup=False)
    if setting.float32_operators:
        names = escape(", ".join(setting.float32_operators))
        console.print(
            f"[yellow]weaker reference: {names} has no float64; the mean of runs in float32 stands for it[/]",
            markup=True,
        )
    labelled = setting.labelled
    if labelled is not None:
        right, common = 100 * labelled.right / labelled.rows, 100 * labelled.commonest / labelled.rows
        unlike = "" if right > common else "[yellow]; is the order of the labels that of the network's outputs?[/]"
        console.print(
            f"PyTorch itself gets {labelled.right} of {labelled.rows} labelled samples right, {right:.1f} %; "
            f"the commonest class alone is {common:.1f} %{unlike}",
            markup=True,
        )
    if setting.not_judged:
        console.print(f"[yellow]not judged: {escape(', '.join(setting.not_judged))}[/]", markup=True)
    groups = [list(group) for _, group in groupby(certificate.graphs, key=lambda graph: (graph.graph, graph.provider))]
    slack = worst_slack(comparison for graph in certificate.graphs for comparison in graph.comparisons)
    if any(graph.comparisons for graph in certificate.graphs):
        room = ", or more where only ONNX Runtime's rounding is to blame" if slack > 1 else ""
        console.print(
            f"rmse and greatest error, as multiples of PyTorch's own; at most {RMSE_FACTOR:g} and {MAX_FACTOR:g} "
            f"pass{room}"
        )
        print_table(groups, setting, console)
    for group in groups:
        _print_summaries(group, certificate, console)
    passed = certificate.passed
    reduced = sorted({graph.precision for graph in certificate.graphs} - {"float32"})
    judged = "every graph that was judged" if setting.not_judged else "every graph"
    but = f", but for ONNX Runtime's rounding, up to {slack:.1f} times beyond the bounds" if slack > 1 else ""
    console.print(
        f"[bold green]parity holds[/]: {judged} is as close to the truth as PyTorch itself{but}"
        + (f", and {' and '.join(reduced)} within the bounds of reduced precision" if reduced else "")
        if passed
        else "[bold red]parity fails[/]: this bundle is not the model that was trained"
        if any(graph.verdict == "fail" for graph in certificate.graphs) or not all(c.passed for c in certificate.checks)
        else "[bold yellow]parity is unproven[/]: nothing contradicts it, but the comparison could not have"
    )


def _print_summaries(group: list[GraphVerdict], certificate: Certificate, console: Console) -> None:
    """Print one line of a graph on a provider, or one of each way that does not pass."""
    setting = certificate.setting
    where = f"{group[0].graph} on {short(group[0].provider)}"
    style = STYLE[worst_verdict({graph.verdict for graph in group})]
    wrong = [graph for graph in group if graph.verdict != "pass"]
    for graph in wrong:
        console.print(f"{where}, {way(graph, setting)}: [{style}]{escape(_summary(graph))}[/]")
    if wrong and len(wrong) < len(group):
        ways = [way(graph, setting) for graph in group if graph.verdict == "pass"]
        console.print(f"{where}, {' and '.join(ways)}: pass", markup=False)
    if not wrong:
        console.print(f"{where}: [{style}]{escape(_summary(group[0]))}[/]")
    for note in dict.fromkeys(graph.note for graph in group if graph.note):
        console.print(f"  {note}", markup=False)
    for held in certificate.weights:
        if held.graph == group[0].graph:
            console.print(f"  {held.sentence}", markup=False)
    search = worst_search(group)
    if search is not None:
        after = "no number" if search.graph_after is None else f"{search.graph_after:.2f}"
        console.print(
            f"  {search.rows} worse rows sought: greatest error {search.graph_before:.2f} before, "
            f"{after} after; PyTorch's own {search.eager_before:.2f} and {search.eager_after:.2f}, "
            "in multiples of PyTorch's greatest on the samples",
            markup=False,
        )


def _summary(graph: GraphVerdict) -> str:
    if graph.verdict != "pass" or graph.reduced is not None:
        return f"{graph.verdict}, {graph.reason}"
    held_out = graph.comparisons[0]
    if held_out.flips is None:
        what = f"{held_out.rows} rows of {held_out.input_set}"
        of = "" if held_out.column is None else f" of target {held_out.column + 1}, the nearest to its bound"
        return f"pass, greatest error {held_out.max_error:.3g} in {what}, in the unit of {held_out.output}{of}"
    share, bound = held_out.unflippable_share or 0.0, held_out.flip_rate_upper_95 or 0.0
    return (
        f"pass, {held_out.flips} flips in {held_out.rows} rows of {held_out.input_set} "
        f"(at 95 % confidence below {100 * bound:.2f} %), {100 * share:.2f} % of them certified unflippable"
    )
