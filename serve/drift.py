"""How far a graph of reduced precision strays from the reference: its error beside the signal, and its decisions."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.bundle import Precision
from serve.decisions import decide

# logits bear much before a decision changes; values are the answer itself, and an error of a tenth of their spread,
# 20 dB, costs a hundredth of R². Eight bits leave 30 to 40 dB of a few layers, eleven bits 50 to 70.
# Probabilities are logits squeezed into 0 to 1.
MIN_SQNR_DB: dict[Precision, dict[str, float]] = {
    "float16": {"logits": 30.0, "probabilities": 10.0, "values": 30.0},
    "int8": {"logits": 10.0, "probabilities": 0.0, "values": 20.0},
}
MAX_FLIP_SHARE = 0.1
_EXACT_DB = 200.0  # stands for no error at all, so that records hold no infinity
_TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDrift:
    """One output beside its float64 reference.

    Attributes:
        rms_error: Root of the mean squared error; NaN where values are not finite or shapes differ.
        max_error: Greatest absolute error.
        spread: Root mean square of what varies: the reference without its mean over the rows.
        sqnr_db: Signal to error, 20 log10(spread / rms_error); NaN where there is an error that is none.
    """

    rms_error: float
    max_error: float
    spread: float
    sqnr_db: float


def output_drift(candidate: NDArray[Any], *, reference: NDArray[Any]) -> OutputDrift:
    """Measure one output.

    Args:
        candidate: The graph's, ``(rows, …)``.
        reference: Of the eager module, float64, same shape. Of integers, the error is whether they are equal.
    """
    expected = reference.astype(np.float64)
    if candidate.shape != reference.shape or not np.isfinite(candidate).all():
        return OutputDrift(rms_error=math.nan, max_error=math.nan, spread=math.nan, sqnr_db=math.nan)
    if reference.dtype.kind in "iu":
        error, spread = (candidate != reference).astype(np.float64), 1.0
    else:
        error = candidate.astype(np.float64) - expected
        spread = float(np.sqrt(np.mean(np.square(expected - expected.mean(axis=0)))))
    rms_error = float(np.sqrt(np.mean(np.square(error))))
    exact = rms_error == 0
    return OutputDrift(
        rms_error=rms_error,
        max_error=float(np.abs(error).max()),
        spread=spread,
        sqnr_db=_EXACT_DB if exact else 20 * math.log10(max(spread, _TINY) / rms_error),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Whether one output of a graph of reduced precision stays near enough to be served.

    Attributes:
        sqnr_db: See `OutputDrift`.
        min_sqnr_db: What it must be.
        flips: Held-out rows that get another class than eager gives them; None for an output that decides nothing.
        rows: Held-out rows.
        fault: Why there was nothing to compare, or None.
    """

    sqnr_db: float
    min_sqnr_db: float
    flips: int | None
    rows: int
    fault: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it does; NaN never passes."""
        return self.fault is None and self.ratio <= 1

    @property
    def ratio(self) -> float:
        """The larger of what was found over what is allowed: of the error, and of the flips."""
        if self.fault is not None or math.isnan(self.sqnr_db):
            return math.inf
        return max(10 ** ((self.min_sqnr_db - self.sqnr_db) / 20), (self.flips or 0) / self.max_flips)

    @property
    def max_flips(self) -> float:
        """How many flips are allowed: one at least, for a row may lie on the boundary."""
        return max(1.0, MAX_FLIP_SHARE * self.rows)

    @property
    def sentence(self) -> str:
        """What was found, for a person."""
        if self.fault is not None:
            return self.fault
        found, expected = f"signal to error {self.sqnr_db:.1f} dB", f"at least {self.min_sqnr_db:g} dB"
        if self.flips is not None:
            found += f" and {self.flips} flips in {self.rows} decisions"
            expected += f" and at most {self.max_flips:.0f}"
        return f"{found}, but {expected} expected"


def judge_drift(
    output: str,
    candidate: NDArray[Any],
    *,
    eager: NDArray[Any],
    reference: NDArray[Any],
    held_out: NDArray[np.bool_],
    decisive: bool,
    precision: Precision,
) -> Drift:
    """Judge one output of a graph of reduced precision on golden rows.

    Args:
        output: Its name.
        candidate: The graph's output, ``(rows, …)``.
        eager: Eager float32 output, same shape.
        reference: Float64 output, same shape.
        held_out: Rows that are real samples, which alone count where there are any: noise lies where no range was set.
        decisive: Whether the model classifies.
        precision: Of the graph.
    """
    bound = MIN_SQNR_DB[precision][output if decisive else "values"]
    rows = held_out if held_out.any() else np.ones_like(held_out)
    broken = candidate.size - int(np.isfinite(candidate).sum())
    fault = f"candidate has {broken} values that are NaN or infinite" if broken else None
    if candidate.shape != reference.shape:
        fault = f"shape is {list(candidate.shape)}, but {list(reference.shape)} was expected"
    if fault is not None:
        return Drift(sqnr_db=math.nan, min_sqnr_db=bound, flips=None, rows=int(rows.sum()), fault=fault)
    flips = None
    if decisive:
        flips = int((decide(candidate, output=output) != decide(eager, output=output))[rows].sum())
    drift = output_drift(candidate[rows], reference=reference[rows])
    return Drift(sqnr_db=drift.sqnr_db, min_sqnr_db=bound, flips=flips, rows=int(rows.sum()))
