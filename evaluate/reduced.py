"""Judge a graph of reduced precision, which cannot be numerically equal: by its decisions, or by its error's size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

from evaluate.compare import CONFIDENCE, interval
from evaluate.graph_verdict import Decisions, OutputError, Reduced, Verdict
from serve.bundle import Precision, Task
from serve.decisions import decide
from serve.drift import MIN_SQNR_DB, output_drift

MAX_DROP = 0.005
REDUCED_RULE = (
    "reduced precision: the measured loss of accuracy, or without labels the rate of flips, is at most the bound that "
    "was asked for, on finite outputs whose signal stands far enough above the error"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDrop:
    """How much accuracy is lost on the same rows.

    Attributes:
        lost: Rows that the reference gets right and the candidate does not.
        gained: The reverse.
        drop: (lost - gained) / rows.
        interval_95: Its two-sided 95 % interval.
        mcnemar_p: Two-sided p of the exact McNemar test: how often chance alone would tell the two further apart.
    """

    lost: int
    gained: int
    drop: float
    interval_95: tuple[float, float]
    mcnemar_p: float


def paired_drop(reference_right: NDArray[np.bool_], candidate_right: NDArray[np.bool_]) -> PairedDrop:
    """Compare two classifiers on the same rows.

    Args:
        reference_right: Whether the reference is right, ``(rows,)``, at least one row.
        candidate_right: Whether the candidate is.

    Source: the interval is that of Bonett and Price (2012), which adds one row to either kind of disagreement and so
    holds its 95 % also where the two never disagree.
    """
    rows = len(reference_right)
    lost = int((reference_right & ~candidate_right).sum())
    gained = int((~reference_right & candidate_right).sum())
    share_lost, share_gained = (lost + 1) / (rows + 2), (gained + 1) / (rows + 2)
    middle = share_lost - share_gained
    reach = float(ndtri((1 + CONFIDENCE) / 2) * np.sqrt((share_lost + share_gained - middle**2) / (rows + 2)))
    return PairedDrop(
        lost=lost,
        gained=gained,
        drop=(lost - gained) / rows,
        interval_95=(max(middle - reach, -1.0), min(middle + reach, 1.0)),
        mcnemar_p=min(1.0, 2 * float(bdtr(min(lost, gained), lost + gained, 0.5))),
    )


def compare_decisions(
    candidate: NDArray[Any], *, eager: NDArray[Any], class_index: NDArray[np.int64] | None, source: str, max_drop: float
) -> Decisions:
    """Compare the decisions of a graph with eager PyTorch's on real samples.

    Args:
        candidate: Logits of the graph, ``(rows, classes)``.
        eager: Eager float32 logits, same shape.
        class_index: True classes, -1 where one is not known; None where none is.
        source: Where the samples are from.
        max_drop: Loss of accuracy allowed, in [0, 1].
    """
    graph_class, eager_class = decide(candidate), decide(eager)
    flips = int((graph_class != eager_class).sum())
    known = np.zeros(len(eager), dtype=np.bool_) if class_index is None else class_index >= 0
    drop = None
    if class_index is not None and known.any():
        drop = paired_drop((eager_class == class_index)[known], (graph_class == class_index)[known])
    return Decisions(
        source=source,
        rows=len(eager),
        flips=flips,
        flip_rate_interval_95=interval(flips, len(eager)),
        labelled_rows=int(known.sum()),
        lost=drop.lost if drop else None,
        gained=drop.gained if drop else None,
        mcnemar_p=drop.mcnemar_p if drop else None,
        accuracy_drop=drop.drop if drop else None,
        accuracy_drop_interval_95=drop.interval_95 if drop else None,
        max_drop=max_drop,
    )


def judge_decisions(found: Decisions) -> tuple[Verdict, str]:
    """Return the verdict on decisions, and the sentence that it rests on.

    What is measured decides, and the interval stands beside it. Above the bound, it is a failure where the whole
    interval lies above, and otherwise unproven: a handful of rows cannot tell bad luck from a bad graph.
    """
    allowed = f"{100 * found.max_drop:g} allowed"
    flips = (
        f"{found.flips} of {found.rows} decisions flip ({100 * found.flips / found.rows:.2f} %, 95 % interval "
        f"{100 * found.flip_rate_interval_95[0]:.2f} to {100 * found.flip_rate_interval_95[1]:.2f}"
    )
    if found.accuracy_drop is not None and found.accuracy_drop_interval_95 is not None:
        measured, (low, high) = found.accuracy_drop, found.accuracy_drop_interval_95
        what = (
            f"accuracy drops by {100 * measured:.2f} points (95 % interval {100 * low:.2f} to {100 * high:.2f}, "
            f"{allowed}) over {found.labelled_rows} labelled rows, {found.lost} lost and {found.gained} gained, "
            f"McNemar p = {found.mcnemar_p:.2g}; {flips})"
        )
    else:
        measured, (low, _) = found.flips / found.rows, found.flip_rate_interval_95
        what = f"{flips}, {allowed}: no row is labelled, and accuracy drops by no more than decisions flip)"
    if measured <= found.max_drop:
        return "pass", what
    return ("fail", what) if low > found.max_drop else ("unproven", f"{what}; give more labelled samples")


def judge_outputs(
    outputs: dict[str, NDArray[Any]], reference: dict[str, NDArray[Any]], *, task: Task, precision: Precision
) -> tuple[OutputError, ...]:
    """Measure how far every output is from the float64 reference, beside how much it varies."""
    decided = "classification" in task
    bounds = MIN_SQNR_DB[precision]
    found = []
    for name, expected in reference.items():
        if name == "probabilities" and decided:
            continue  # what the logits say already, squeezed into 0 to 1
        for title, column in _columns(name, expected):
            drift = output_drift(outputs[name][column], reference=expected[column])
            found.append(
                OutputError(
                    output=title,
                    rms_error=drift.rms_error,
                    max_error=drift.max_error,
                    spread=drift.spread,
                    sqnr_db=drift.sqnr_db,
                    min_sqnr_db=bounds["logits" if decided else "values"],
                )
            )
    return tuple(found)


def _columns(name: str, reference: NDArray[Any]) -> list[tuple[str, tuple[slice, ...]]]:
    """Return what is judged by itself: each target of a regression, or else an output as a whole."""
    if name != "prediction" or reference.ndim != 2 or reference.shape[1] == 1:
        return [(name, (slice(None),))]
    return [
        (f"{name}, target {index + 1}", (slice(None), slice(index, index + 1))) for index in range(reference.shape[1])
    ]


def judge_reduced(outputs: tuple[OutputError, ...], decisions: Decisions | None) -> tuple[Verdict, str, Reduced]:
    """Put the verdict on a graph of reduced precision together."""
    below = [output for output in outputs if not output.sqnr_db >= output.min_sqnr_db]  # NaN is
    worst = below[0] if below else min(outputs, key=lambda output: output.sqnr_db - output.min_sqnr_db)
    closeness = (
        f"{worst.output} has an error of rms {worst.rms_error:.3g} and max {worst.max_error:.3g} where the reference "
        f"spreads by {worst.spread:.3g} (signal to error {worst.sqnr_db:.1f} dB, at least {worst.min_sqnr_db:g})"
    )
    record = Reduced(outputs=outputs, decisions=decisions)
    if below:
        return "fail", closeness, record
    if decisions is None:
        return "pass", closeness, record
    verdict, sentence = judge_decisions(decisions)
    return verdict, f"{sentence}; {closeness}", record
