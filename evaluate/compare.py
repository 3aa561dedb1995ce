"""Decision parity, and whether a comparison can prove anything: pure functions on arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv  # scipy.stats takes half a second to import

from serve.decisions import decide

CONFIDENCE = 0.95
_TELLING_FACTOR = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionParity:
    """Whether a candidate decides as the reference does.

    Attributes:
        rows: Rows compared.
        flips: Rows whose top class differs from the reference's.
        flips_beyond_margin: Flips where the reference's margin is more than twice the allowed error: the graph's fault.
        unflippable_share: Share of rows whose margin is more than twice the greatest error seen, so that no error of
            that size can change the decision.
        flip_rate_upper_95: Upper end of the one-sided 95 % interval of the flip rate.
    """

    rows: int
    flips: int
    flips_beyond_margin: int
    unflippable_share: float
    flip_rate_upper_95: float

    @property
    def passed(self) -> bool:
        """Whether no flip counts against the candidate."""
        return self.flips_beyond_margin == 0


def decision_margin(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's margin, ``(batch,)``: no error below half of it can change the decision."""
    if logits.shape[1] == 1:
        return 2 * np.abs(logits[:, 0])
    ordered = np.sort(logits, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def decision_parity(
    candidate: NDArray[Any], reference: NDArray[np.float64], *, allowed_error: float | NDArray[np.float64]
) -> DecisionParity:
    """Compare top classes.

    Args:
        candidate: Logits of the graph, ``(batch, classes)``, or ``(batch, 1)`` of a binary classification; finite.
        reference: Float64 logits, same shape.
        allowed_error: Greatest absolute error that the numeric rule allows, of all rows or of each, ``(batch,)``; a
            flip within twice that margin is chance.

    Returns:
        The comparison.

    Raises:
        ValueError: shapes differ, or the batch is empty.

    Source: DESIGN.md §3, docs/parity.md.
    """
    if candidate.shape != reference.shape or reference.ndim != 2 or reference.size == 0:
        raise ValueError(
            f"logits have shape {candidate.shape} and {reference.shape}, but the same (batch, classes) with at least "
            "one row was expected"
        )
    margin = decision_margin(reference)
    flipped = decide(candidate) != decide(reference)
    observed_error = float(np.abs(candidate.astype(np.float64) - reference).max())
    return DecisionParity(
        rows=len(reference),
        flips=int(flipped.sum()),
        flips_beyond_margin=int((flipped & (margin > 2 * allowed_error)).sum()),
        unflippable_share=float(np.mean(margin > 2 * observed_error)),
        flip_rate_upper_95=upper_bound(int(flipped.sum()), len(reference)),
    )


def upper_bound(events: int, trials: int) -> float:
    """Return the one-sided 95 % Clopper-Pearson upper bound of a rate."""
    return 1.0 if events == trials else float(betaincinv(events + 1, trials - events, CONFIDENCE))


def interval(events: int, trials: int) -> tuple[float, float]:
    """Return the two-sided 95 % Clopper-Pearson interval of a rate."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if events == 0 else float(betaincinv(events, trials - events + 1, tail))
    high = 1.0 if events == trials else float(betaincinv(events + 1, trials - events, 1 - tail))
    return low, high


def vacuity(reference: NDArray[np.float64], *, allowed_error: float) -> str | None:
    """Return why agreeing with a reference would prove nothing, or None where it would prove something.

    An output that hardly varies over the inputs agrees with any graph that returns a constant.

    Args:
        reference: Float64 output, ``(batch, …)``.
        allowed_error: Greatest absolute error that the numeric rule allows.
    """
    rows = len(reference)
    spread = float((reference.max(axis=0) - reference.min(axis=0)).max())
    if spread > _TELLING_FACTOR * allowed_error:
        return None
    return (
        f"it varies by {spread:.3g} over {rows} rows, but more than {_TELLING_FACTOR * allowed_error:.3g} "
        f"({_TELLING_FACTOR:.0f} times the allowed error) is needed to tell a graph from a constant"
    )
