"""What the page shows of one bundle, put together from what was found."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from evaluate.accuracy.record import ClassScores, GraphAccuracy, GraphErrors
from evaluate.bench.result import BenchRow
from evaluate.graph_verdict import Verdict
from evaluate.report.charts import blame_chart, confusion_chart, predictions_chart, reliability_chart, residuals_chart
from evaluate.report.findings import Findings
from evaluate.report.identity import Fact, contract_of, facts_of, graph_size, line_of
from evaluate.report.proof import Proof, proofs_of
from evaluate.report.together import Shade, but_of, not_judged, shade_of, state_of, worst_share
from evaluate.report.words import (
    NOTHING,
    caution_of,
    clamp,
    deviation,
    milliseconds,
    number,
    numbers,
    percent,
    percents,
    sentence_of,
)
from serve.bundle import FileEntry
from train.pictures.confusion import MOST_COUNTED, largest_confusions

MOST_CLASSES = 20
_MOST_MISTAKES = 3
_SHORT = 3  # signs of a label that fits above its column


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One of the figures at the top."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A class that is taken for another, how often, and of how many."""

    truth: str
    predicted: str
    count: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One bundle as the page shows it; see the template for what each is for."""

    found: Findings
    anchor: str
    title: str
    state: Verdict
    shade: Shade
    buts: tuple[str, ...]
    sentence: str
    caution: str | None
    cards: tuple[Card, ...]
    line: tuple[str, ...]
    facts: tuple[Fact, ...]
    contract: tuple[Fact, ...]
    proofs: tuple[Proof, ...]
    not_judged: tuple[str, ...]
    shown: GraphAccuracy | None
    errors: GraphErrors | None
    classes: tuple[ClassScores, ...]
    mistakes: tuple[Mistake, ...]
    confusion_table: bool
    upright: bool
    confusion: Markup | None
    reliability: Markup | None
    predictions: Markup | None
    residuals: Markup | None
    blame: Markup | None
    speed: tuple[BenchRow, ...]
    slowest_ms: dict[int, float]
    files: tuple[FileEntry, ...]


def view_of(found: Findings, *, anchor: str, title: str) -> View:
    """Put one bundle together.

    Args:
        found: What was found.
        anchor: What links lead to.
        title: What it is called beside the others.
    """
    accuracy = found.accuracy
    shown = accuracy.graphs[min(1, len(accuracy.graphs) - 1)] if accuracy and accuracy.graphs else None
    errors = accuracy.errors[min(1, len(accuracy.errors) - 1)] if accuracy and accuracy.errors else None
    rows = found.bench.rows if found.bench else ()
    return View(
        found=found,
        anchor=anchor,
        title=title,
        state=state_of(found),
        shade=shade_of(found),
        buts=but_of(found),
        sentence=sentence_of(found),
        caution=caution_of(found),
        cards=tuple(_cards(found, shown, errors)),
        line=line_of(found),
        facts=facts_of(found),
        contract=contract_of(found.manifest),
        proofs=proofs_of(found.certificate),
        not_judged=not_judged(found),
        shown=shown,
        errors=errors,
        classes=_classes(shown),
        mistakes=_mistakes(shown),
        confusion_table=shown is not None and len(shown.classes) <= MOST_COUNTED,
        upright=max(map(len, found.manifest.labels), default=0) <= _SHORT,
        confusion=None
        if shown is None or len(shown.classes) <= MOST_COUNTED
        else confusion_chart(shown, found.manifest.labels, name=f"{anchor}-confusion"),
        reliability=None
        if shown is None or shown.probabilities is None
        else reliability_chart(found, shown, name=f"{anchor}-reliability"),
        predictions=None
        if errors is None or found.sampled is None
        else predictions_chart(found, found.sampled, name=f"{anchor}-predictions"),
        residuals=None
        if errors is None or found.sampled is None
        else residuals_chart(found, found.sampled, name=f"{anchor}-residuals"),
        blame=None
        if found.blame is None or not found.blame.nodes
        else blame_chart(found.blame, name=f"{anchor}-blame"),
        speed=rows,
        slowest_ms={
            size: max(row.median_ms for row in rows if row.batch_size == size) for size in {r.batch_size for r in rows}
        },
        files=found.manifest.files,
    )


def served_row(found: Findings) -> BenchRow | None:
    """Return the time of one row through the graph that a server runs: the first ONNX graph, else the first graph."""
    rows = [row for row in (found.bench.rows if found.bench else ()) if row.batch_size == 1 and row.runner != "eager"]
    return next((row for row in rows if row.runner.endswith(".onnx")), rows[0] if rows else None)


def served_graph(found: Findings) -> str | None:
    """Return the file of that graph."""
    graphs = [graph.graph for graph in found.certificate.graphs]
    return next((graph for graph in graphs if graph.endswith(".onnx")), graphs[0] if graphs else None)


def _cards(found: Findings, shown: GraphAccuracy | None, errors: GraphErrors | None) -> list[Card]:
    cards = []
    if shown is not None and found.accuracy is not None:
        sure = f"{percents(shown.interval_95)} at 95\N{NO-BREAK SPACE}% confidence"
        note = f"{sure}; {shown.correct:,} of {shown.rows:,} right"
        cards.append(Card(label="Accuracy", value=percent(shown.top1_accuracy), note=note))
    elif errors is not None:
        for target in errors.targets[:1]:
            interval = numbers(target.mean_absolute_error_95) or "no interval"
            note = f"{interval}; {errors.rows:,} samples, {clamp(target.target)}"
            cards.append(Card(label="Mean error", value=number(target.mean_absolute_error), note=note))
    else:
        cards.append(Card(label="Accuracy", value=NOTHING, note="not measured"))
    worst = worst_share(found)
    if worst is not None:
        note = "of what rounding alone may do; above 100\N{NO-BREAK SPACE}%, a graph fails"
        cards.append(Card(label="Greatest deviation", value=deviation(worst), note=note))
    row = served_row(found)
    if row is not None:
        note = f"{row.runner}, one row at a time, median"
        cards.append(Card(label="Answer in", value=milliseconds(row.median_ms), note=note))
    graph = served_graph(found)
    size = graph_size(found, graph) if graph else None
    if size is not None:
        cards.append(Card(label="Size", value=size, note=f"{graph}"))
    return cards


def _classes(shown: GraphAccuracy | None) -> tuple[ClassScores, ...]:
    if shown is None or len(shown.classes) <= MOST_CLASSES:
        return () if shown is None else shown.classes
    return tuple(sorted(shown.classes, key=lambda one: one.f1.value or 0.0)[:MOST_CLASSES])


def _mistakes(shown: GraphAccuracy | None) -> tuple[Mistake, ...]:
    if shown is None:
        return ()
    labels = [one.label for one in shown.classes]
    return tuple(
        Mistake(truth=labels[truth], predicted=labels[predicted], count=count, of=shown.classes[truth].support)
        for truth, predicted, count in largest_confusions(np.asarray(shown.confusion), _MOST_MISTAKES)
    )
