"""The acceptance rule: an exported graph may be no further from the truth than PyTorch's own float32 is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RMSE_FACTOR = 3.0
MAX_FACTOR = 6.0
INTEGER_SHARE = 0.001

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
    """

    rmse: float
    rmse_bound: float
    max_error: float
    max_bound: float
    values: int
    fault: str | None = None

    @property
    def passed(self) -> bool:
        """Whether both bounds hold; NaN never does."""
        return self.fault is None and self.rmse <= self.rmse_bound and self.max_error <= self.max_bound

    @property
    def ratio(self) -> float:
        """The larger of error / bound over both figures; parity is a ratio of at most 1."""
        if self.fault is not None:
            return math.inf
        pairs = ((self.rmse, self.rmse_bound), (self.max_error, self.max_bound))
        return max(0.0 if error == 0 else error / bound if bound else math.inf for error, bound in pairs)

    @property
    def sentence(self) -> str:
        """What was found, for a person."""
        if self.fault is not None:
            return self.fault
        return (
            f"error is rmse {self.rmse:.3g} and max {self.max_error:.3g}, "
            f"but {self.rmse_bound:.3g} and {self.max_bound:.3g} are allowed"
        )


def output_parity(
    name: str, candidate: Arrays, *, eager: Mapping[str, NDArray[np.float32]], reference: Mapping[str, NDArray[Any]]
) -> NumericParity:
    """Judge one of a graph's outputs, knowing the others.

    Probabilities have a second way to pass: where the graph's logits pass, they may be what softmax makes, to the same
    rule, of those very logits. An error that logits are allowed is not held against the probabilities once more: ONNX
    Runtime sums the products of a wide linear layer 2.2 times as coarsely as PyTorch, and some rows show that more.

    Args:
        name: Of the output.
        candidate: Every output of the graph, on the rows that are compared.
        eager: The PyTorch module's outputs on the same rows.
        reference: The same module's in float64.

    Returns:
        As `numeric_parity`; of the way that passed, if one did.
    """
    plain = numeric_parity(candidate[name], eager=eager[name], reference=reference[name])
    if name != "probabilities" or plain.passed or plain.fault is not None or "logits" not in reference:
        return plain
    if reference["logits"].shape != reference[name].shape:
        return plain
    if not numeric_parity(candidate["logits"], eager=eager["logits"], reference=reference["logits"]).passed:
        return plain
    own = numeric_parity(
        candidate[name],
        eager=eager[name],
        reference=_activate(candidate["logits"]),
        eager_reference=_activate(eager["logits"]),
    )
    return own if own.passed else plain


def _activate(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return softmax of each row in float64; of a single logit, its sigmoid."""
    wide = logits.astype(np.float64)
    if wide.shape[1] == 1:
        wide = np.concatenate([np.zeros_like(wide), wide], axis=1)
    exponentials = np.exp(wide - wide.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities[:, -logits.shape[1] :]


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
        its error is 0 or 1, and one in a thousand may be wrong, as rounding decides ties.

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
        wrong, eager_wrong = float(np.mean(candidate != reference)), float(np.mean(eager != reference))
        share = max(RMSE_FACTOR * eager_wrong, INTEGER_SHARE)
        return NumericParity(
            rmse=math.sqrt(wrong),
            rmse_bound=math.sqrt(share),
            max_error=float(wrong > 0),
            max_bound=1.0,
            values=reference.size,
        )
    error = candidate.astype(np.float64) - reference
    eager_error = eager.astype(np.float64) - (reference if eager_reference is None else eager_reference)
    # PyTorch's own error can be zero by luck or by construction; one unit in the last place is what float32 can promise
    rmse_floor = float(np.spacing(np.float32(_rms(reference))))
    max_floor = float(np.spacing(np.float32(np.abs(reference).max())))
    return NumericParity(
        rmse=_rms(error),
        rmse_bound=RMSE_FACTOR * max(_rms(eager_error), rmse_floor),
        max_error=float(np.abs(error).max()),
        max_bound=MAX_FACTOR * max(float(np.abs(eager_error).max()), max_floor),
        values=reference.size,
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


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
