"""What a person reads on stdout of `python -m evaluate accuracy`."""

from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluate.accuracy.cells import between, new_table, number, on_line, percent, points, share
from evaluate.accuracy.probabilities import BINS
from evaluate.accuracy.record import Accuracy, GraphAccuracy
from evaluate.accuracy.robustness import CLEAN
from evaluate.accuracy.spoilt import Robustness
from evaluate.fitting_table import print_fitting
from evaluate.tables import short, size

MOST_CLASSES = 20  # of which the scores are printed
MOST_CONFUSED = 12  # classes for which all confusions are printed


def shown_graph(accuracy: Accuracy) -> GraphAccuracy:
    """Return the graph that is shown in detail: the first that is not eager itself, where there is one."""
    return accuracy.graphs[min(1, len(accuracy.graphs) - 1)]


def print_accuracy(accuracy: Accuracy, console: Console) -> None:
    """Print one line a graph, then one of them in detail."""
    console.print(f"accuracy of {accuracy.name} on {accuracy.data}", markup=False)
    if accuracy.errors:
        print_fitting(console, _regressions(accuracy))
        print_fitting(console, _targets(accuracy))
    else:
        print_fitting(console, _graphs(accuracy))
    if accuracy.notes_accuracy is not None:
        console.print(f"the source notes print {100 * accuracy.notes_accuracy:.2f} %")
    if accuracy.graphs:
        shown = shown_graph(accuracy)
        print_fitting(console, _figures(accuracy))
        console.print(f"{shown.graph} on {short(shown.provider)} in detail; the others are in --json", markup=False)
        print_fitting(console, _classes(shown))
        if len(shown.classes) > MOST_CLASSES:
            more = len(shown.classes) - MOST_CLASSES
            console.print(f"the {MOST_CLASSES} classes of the least F1; {more} others are in --json")
        if len(shown.classes) <= MOST_CONFUSED:
            console.print("confusions: true class at the left, predicted class above")
            print_fitting(console, _confusion(shown))
        if shown.probabilities is not None:
            print_fitting(console, _reliability(shown))
        for graph in accuracy.graphs:
            if graph.not_finite:
                console.print(
                    f"{graph.graph} gives NaN or infinity for {graph.not_finite} samples, which count as wrong; see "
                    "evaluate parity",
                    markup=False,
                )
    if accuracy.robustness is not None:
        console.print(f"on spoilt images, {accuracy.robustness.source}", markup=False)
        print_fitting(console, _robustness(accuracy.robustness))
    console.print(
        "intervals of 95 %: exact (Clopper-Pearson) of shares, that of Bonett and Price of points lost, and "
        f"percentiles of {accuracy.resamples:,} resamples with seed {accuracy.seed} of all other figures; none where "
        "all resamples give the same, which says nothing"
    )


def _graphs(accuracy: Accuracy) -> Table:
    table = new_table("graph", "provider")
    mean = () if accuracy.batch_size is None else (f"mean of batches\nof {accuracy.batch_size}",)
    for column in (
        "size",
        "top-1",
        *mean,
        "decided unlike\neager",
        "of these\nby rounding",
        "points lost",
        "seconds\nto run",
    ):
        table.add_column(column, justify="right")
    for row in accuracy.graphs:
        table.add_row(
            row.graph,
            short(row.provider),
            size(row.size_bytes),
            percent(row.top1_accuracy, row.interval_95),
            *(() if row.batch_mean_accuracy is None else (f"{100 * row.batch_mean_accuracy:.2f} %",)),
            "" if row.unlike_eager is None else str(row.unlike_eager),
            "" if row.unlike_within_error is None else str(row.unlike_within_error),
            "" if row.drop is None else points(row.drop).replace(" (", "\n").removesuffix(")"),
            f"{row.duration_s:.2f}",
        )
    return table


def _figures(accuracy: Accuracy) -> Table:
    top = accuracy.graphs[0].top_k
    binary = any(graph.probabilities and graph.probabilities.roc_auc for graph in accuracy.graphs)
    table = new_table("graph")
    for column in (
        *(() if top is None else (f"top-{top.k}",)),
        "mean F1",
        f"calibration error\n({BINS} bins)",
        "calibrated, it\nwould be up to",
        "Brier score",
        "log loss",
        *(("ROC AUC",) if binary else ()),
    ):
        table.add_column(column, justify="right")
    for graph in accuracy.graphs:
        cells = [] if graph.top_k is None else [percent(graph.top_k.accuracy, graph.top_k.interval_95)]
        cells.append(share(graph.macro.f1))
        found = graph.probabilities
        if found is not None:
            cells += [share(found.expected_calibration_error), f"{100 * found.if_calibrated_95:.2f} %"]
            cells += [number(found.brier), number(found.log_loss)]
            cells += [] if found.roc_auc is None else [number(found.roc_auc)]
        table.add_row(graph.graph, *cells)
    return table


def _classes(graph: GraphAccuracy) -> Table:
    table = new_table("class")
    for column in ("samples", "predicted", "precision, %", "recall, %", "F1, %"):
        table.add_column(column, justify="right")
    table.add_column("most often taken for")
    places = list(range(len(graph.classes)))
    if len(places) > MOST_CLASSES:
        places = sorted(places, key=lambda place: graph.classes[place].f1.value or 0.0)[:MOST_CLASSES]
    for place in places:
        found = graph.classes[place]
        table.add_row(
            escape(found.label),
            str(found.support),
            str(found.predicted),
            *map(on_line, (found.precision, found.recall, found.f1)),
            _mistaken(graph, place),
        )
    table.add_section()
    macro = graph.macro
    means = map(on_line, (macro.precision, macro.recall, macro.f1))
    table.add_row("mean of classes", str(graph.rows), str(graph.rows - graph.not_finite), *means)
    return table


def _mistaken(graph: GraphAccuracy, place: int) -> str:
    others = [(count, other) for other, count in enumerate(graph.confusion[place]) if count and other != place]
    if not others:
        return ""
    count, other = max(others, key=lambda pair: pair[0])
    return f"{escape(graph.classes[other].label)}, {count}"


def _confusion(graph: GraphAccuracy) -> Table:
    table = new_table("")
    for index in range(len(graph.classes)):
        table.add_column(str(index), justify="right")
    for index, (found, row) in enumerate(zip(graph.classes, graph.confusion, strict=True)):
        cells = [str(count) if count else "·" for count in row]
        cells[index] = f"[bold]{cells[index]}[/]"
        table.add_row(f"{index} {escape(found.label)}", *cells)
    return table


def _reliability(graph: GraphAccuracy) -> Table:
    table = new_table("probability of\nthe predicted class")
    for column in ("samples", "mean\nprobability", "share right", "95 % interval"):
        table.add_column(column, justify="right")
    for found in () if graph.probabilities is None else graph.probabilities.bins:
        accuracy = found.accuracy
        if found.confidence is None or accuracy.value is None or accuracy.interval_95 is None:
            continue
        low, high = accuracy.interval_95
        table.add_row(
            f"{100 * found.low:.1f} to {100 * found.high:.1f} %",
            str(found.rows),
            f"{100 * found.confidence:.2f} %",
            f"{100 * accuracy.value:.2f} %",
            f"{100 * low:.2f} to {100 * high:.2f} %",
        )
    return table


def _robustness(robustness: Robustness) -> Table:
    table = new_table("spoilt by", "strength", "graph", "provider")
    for column in ("top-1", "95 % interval", "points lost to clean"):
        table.add_column(column, justify="right")
    kind = ""
    for key, rows in groupby(robustness.settings, key=lambda row: (row.kind, row.strength, row.unit)):
        if kind not in ("", key[0]):
            table.add_section()
        strength = "" if key[0] == CLEAN else f"{key[1]:g} {key[2]}"
        for index, row in enumerate(rows):
            low, high = row.interval_95
            table.add_row(
                key[0] if kind != key[0] else "",
                "" if index else strength,
                row.graph,
                short(row.provider),
                f"{100 * row.top1_accuracy:.2f} %",
                f"{100 * low:.2f} to {100 * high:.2f} %",
                "" if row.drop is None else points(row.drop),
            )
            kind = key[0]
    return table


def _regressions(accuracy: Accuracy) -> Table:
    table = new_table("graph", "provider")
    for column in ("rows", "size", "max difference\nto eager", "seconds"):
        table.add_column(column, justify="right")
    for row in accuracy.errors:
        difference = row.max_difference_to_eager
        table.add_row(
            row.graph,
            short(row.provider),
            str(row.rows),
            size(row.size_bytes),
            "" if difference is None else f"{difference:.3g}",
            f"{row.duration_s:.2f}",
        )
    return table


def _targets(accuracy: Accuracy) -> Table:
    table = new_table("graph", "target")
    for column in ("mean |error|", "rms error", "R2", "max |error|", "further samples\nbeyond it, at most"):
        table.add_column(column, justify="right")
    for errors in accuracy.errors:
        for index, target in enumerate(errors.targets):
            table.add_row(
                "" if index else errors.graph,
                escape(target.target),
                between(f"{target.mean_absolute_error:.6g}", target.mean_absolute_error_95, ".4g"),
                between(f"{target.root_mean_squared_error:.6g}", target.root_mean_squared_error_95, ".4g"),
                "-" if target.r2 is None else between(f"{target.r2:.4f}", target.r2_95, ".4f"),
                f"{target.max_absolute_error:.6g}",
                f"{100 * target.beyond_max_upper_95:.2f} %",
                end_section=index == len(errors.targets) - 1 and index > 0,
            )
    return table
