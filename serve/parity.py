"""The acceptance rule: an exported graph may be no further from the truth than PyTorch's own float32 is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

RMSE_FACTOR = 3.0
MAX_FACTOR = 6.0
INTEGER_SHARE = 0.001
# a row on which PyTorch's own error is that many times the median row's is judged apart, by bounds that much wider: of
# one chaotic row, both errors are luck, and it would also hide what is wrong with all the others
OUTLIER = 8.0
OUTLIER_SLACK = 32.0
COARSEST = 64.0  # times the bounds, that a runtime's own rounding may go, see `evaluate.rounding`
_MOST_WRONG = 0.05  # of integers; where PyTorch itself gets more wrong, nothing is proven
_MOST_WRONG_OF_A_KIND = 0.5
LEAST_ROWS = 8
_MOST_OUTLIERS = 0.25

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericParity:
    """Errors of a candidate against the float64 reference, with the bounds they must keep.

    Attributes:
        rmse: Root of the mean squared error of the candidate.
        rmse_bound: What it may be.
        max_error: Greatest absolute error of the candidate.
        max_bound: What it may be.
        values: How many values were compared.
        fault: Why there was nothing to compare (shape, dtype, NaN), or None.
        outliers: The same of the rows that are judged apart, see `row_parity`; the figures above leave them out.
        apart: Which rows those are, ``(batch,)``; None where there are none.
        column: Of a regression with several targets, the place of the one that this is of; None elsewhere.
    """

    rmse: float
    rmse_bound: float
    max_error: float
    max_bound: float
    values: int
    fault: str | None = None
    outliers: "NumericParity | None" = None
    apart: NDArray[np.bool_] | None = field(default=None, compare=False)
    column: int | None = None

    @property
    def passed(self) -> bool:
        """Whether both bounds hold; NaN never does."""
        sound = self.fault is None and self.rmse <= self.rmse_bound and self.max_error <= self.max_bound
        return sound and (self.outliers is None or self.outliers.passed)

    @property
    def ratio(self) -> float:
        """The larger of error / bound over both figures; parity is a ratio of at most 1."""
        if self.fault is not None:
            return math.inf
        pairs = ((self.rmse, self.rmse_bound), (self.max_error, self.max_bound))
        own = max(0.0 if error == 0 else error / bound if bound else math.inf for error, bound in pairs)
        return own if self.outliers is None else max(own, self.outliers.ratio)

    @property
    def row_bound(self) -> float | NDArray[np.float64]:
        """What the greatest error of each row may be, ``(batch,)``, or one figure where it is the same for all."""
        if self.outliers is None or self.apart is None:
            return self.max_bound
        return np.where(self.apart, self.outliers.max_bound, self.max_bound)

    def widened(self, factor: float) -> "NumericParity":
        """Return the same errors with bounds so many times as wide; those of rows judged apart stay as they are."""
        return replace(self, rmse_bound=factor * self.rmse_bound, max_bound=factor * self.max_bound)

    @property
    def sentence(self) -> str:
        """What was found, for a person."""
        if self.fault is not None:
            return self.fault
        judged, where = self, ""
        of = "" if self.column is None else f" of target {self.column + 1}"
        if self.outliers is not None and not self.outliers.passed:
            judged, where = self.outliers, " on rows where PyTorch's own is far above the others'"
        return (
            f"error{of} is rmse {judged.rmse:.3g} and max {judged.max_error:.3g}{where}, "
            f"but {judged.rmse_bound:.3g} and {judged.max_bound:.3g} are allowed"
        )


def row_parity(candidate: NDArray[Any], *, eager: NDArray[np.float32], reference: NDArray[np.float64]) -> NumericParity:
    """Judge one output of a graph, and rows of which PyTorch's own error is far above the other rows' apart.

    Where a row's error is chaotic, eager's and the graph's are two draws of luck: judged with the others, it would
    decide alone, for or against, and a fault in all the other rows would hide below its bound.

    Args:
        candidate: As for `numeric_parity`.
        eager: As for `numeric_parity`.
        reference: As for `numeric_parity`.

    Returns:
        As `numeric_parity`, over the sound rows; with ``outliers`` over the others, where there are some, but no more
        than a quarter of all. Their bounds are 32 times as wide.
    """
    whole = numeric_parity(candidate, eager=eager, reference=reference)
    if whole.fault is not None or eager.dtype.kind in "iu":
        return whole
    apart = outlying_rows(eager.astype(np.float64) - reference, reference)
    if not apart.any():
        return whole
    sound, rest = (
        numeric_parity(candidate[rows], eager=eager[rows], reference=reference[rows]) for rows in (~apart, apart)
    )
    return replace(sound, outliers=rest.widened(OUTLIER_SLACK), apart=apart)


def outlying_rows(error: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows' error is far above the median row's; none where rows are few, or more than a quarter are."""
    rows = len(error)
    none = np.zeros(rows, dtype=np.bool_)
    if rows < LEAST_ROWS:
        return none
    sizes = np.sqrt(np.mean(np.square(error.reshape(rows, -1)), axis=1))
    floor = float(np.spacing(np.float32(np.median(np.abs(reference)))))
    found: NDArray[np.bool_] = sizes > OUTLIER * max(float(np.median(sizes)), floor)
    return found if found.sum() <= _MOST_OUTLIERS * rows else none


def numeric_parity(
    candidate: NDArray[Any],
    *,
    eager: NDArray[np.float32],
    reference: NDArray[np.float64],
    eager_reference: NDArray[np.float64] | None = None,
) -> NumericParity:
    """Judge one output of a graph.

    Args:
        candidate: The graph's output, ``(batch, …)``, float32, or int64.
        eager: The PyTorch module's output on the same rows, same dtype and shape.
        reference: The output of the same module in float64, same shape.
        eager_reference: What eager's own error is measured from, where that is something else.

    Returns:
        The comparison. A wrong shape or dtype, and NaN or infinity anywhere, are faults. An integer is right or wrong:
        its error is 0 or 1, and one in a thousand may be wrong, as rounding decides ties, or three times as many as
        eager's own, but never more than one in twenty; and of 8 rows or more, no more than half may be wrong in any
        one place of a row, or where any one value should stand, unless PyTorch itself gets more than a sixth wrong.

    Raises:
        ValueError: there are no rows, or eager and reference differ in shape.

    Source: DESIGN.md §3, docs/parity.md.
    """
    if reference.size == 0 or eager.shape != reference.shape:
        raise ValueError(
            f"eager has shape {eager.shape} and reference {reference.shape}, but equal, non-empty ones were expected"
        )
    fault = _fault(candidate, eager=eager, reference=reference)
    if fault is not None:
        return NumericParity(
            rmse=math.nan,
            rmse_bound=math.nan,
            max_error=math.nan,
            max_bound=math.nan,
            values=reference.size,
            fault=fault,
        )
    if eager.dtype.kind in "iu":
        return _integer_parity(candidate, eager=eager, reference=reference)
    error = candidate.astype(np.float64) - reference
    eager_error = eager.astype(np.float64) - (reference if eager_reference is None else eager_reference)
    # PyTorch's own error can be zero by luck or by construction; one unit in the last place is what float32 can promise
    rmse_floor = float(np.spacing(np.float32(rms(reference))))
    max_floor = float(np.spacing(np.float32(np.abs(reference).max())))
    return NumericParity(
        rmse=rms(error),
        rmse_bound=RMSE_FACTOR * max(rms(eager_error), rmse_floor),
        max_error=float(np.abs(error).max()),
        max_bound=MAX_FACTOR * max(float(np.abs(eager_error).max()), max_floor),
        values=reference.size,
    )


def _integer_parity(candidate: NDArray[Any], *, eager: NDArray[Any], reference: NDArray[Any]) -> NumericParity:
    wrong, eager_wrong = candidate != reference, eager != reference
    share = min(max(RMSE_FACTOR * float(np.mean(eager_wrong)), INTEGER_SHARE), _MOST_WRONG)
    worst, allowed = float(wrong.any()), 1.0
    if len(wrong) >= LEAST_ROWS:
        # one place of a thousand that is wrong in every row, or one class that never comes, would be a share of one in
        # a thousand
        values, index, counts = np.unique(reference, return_inverse=True, return_counts=True)
        common = counts >= LEAST_ROWS
        by_value, eager_by_value = (
            (np.bincount(index.reshape(-1), weights=one.reshape(-1), minlength=len(values)) / counts)[common]
            for one in (wrong, eager_wrong)
        )
        by_place, eager_by_place = (np.mean(one, axis=0).reshape(-1) for one in (wrong, eager_wrong))
        worst = float(max(by_place.max(), by_value.max(initial=0.0)))
        own = float(max(eager_by_place.max(), eager_by_value.max(initial=0.0)))
        allowed = max(_MOST_WRONG_OF_A_KIND, min(RMSE_FACTOR * own, 1.0))
    return NumericParity(
        rmse=math.sqrt(float(np.mean(wrong))),
        rmse_bound=math.sqrt(share),
        max_error=worst,
        max_bound=allowed,
        values=wrong.size,
    )


def _fault(candidate: NDArray[Any], *, eager: NDArray[np.float32], reference: NDArray[np.float64]) -> str | None:
    if candidate.shape != reference.shape:
        return f"shape is {list(candidate.shape)}, but {list(reference.shape)} was expected"
    if candidate.dtype != eager.dtype:
        return f"dtype is {candidate.dtype}, but {eager.dtype} was expected"
    for name, values in (("candidate", candidate), ("eager", eager), ("reference", reference)):
        broken = values.size - int(np.isfinite(values).sum())
        if broken:
            return f"{name} has {broken} values that are NaN or infinite"
    return None


def rms(values: NDArray[np.float64]) -> float:
    """Return the root of the mean of the squares of all values."""
    return float(np.sqrt(np.mean(np.square(values))))
