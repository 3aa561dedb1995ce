"""The rule of `serve.parity` for a whole output, knowing the others: probabilities, targets, and what is small."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.parity import LEAST_ROWS, Arrays, NumericParity, numeric_parity, rms, row_parity

_MOST_PARTS = 64
_SMALL = 1 / 8  # of the whole output's root mean square
_SMALL_SLACK = 4.0
_SAME = 1e-9  # of two ways to compute a softmax in float64


def output_parity(
    name: str,
    candidate: Arrays,
    *,
    eager: Mapping[str, NDArray[np.float32]],
    reference: Mapping[str, NDArray[Any]],
    apart: bool = True,
) -> NumericParity:
    """Judge one of a graph's outputs, knowing the others.

    Of a regression with several targets, each is judged by itself: beside prices, a rate would be lost. Returned is the
    target that is furthest off. So is each column or channel of other outputs whose values are small beside the rest,
    by bounds four times as wide: there may be few of them, and eager's luck on a few is a poor yardstick.

    Probabilities must be what softmax makes, to the same rule, of the graph's own logits; and either they, or those
    logits, must keep the rule as every output does. An error that logits are allowed is not held against the
    probabilities once more: ONNX Runtime sums the products of a wide linear layer 2.2 times as coarsely as PyTorch, and
    some rows show that more.

    Args:
        name: Of the output.
        candidate: Every output of the graph, on the rows that are compared.
        eager: The PyTorch module's outputs on the same rows.
        reference: The same module's in float64.
        apart: Whether rows of which PyTorch's own error is far above the others' are judged apart, as by `row_parity`,
            and small parts by themselves; not where rows were sought for a great error.

    Returns:
        As `numeric_parity`; of the comparison that decided.
    """
    judge = row_parity if apart else numeric_parity
    if name == "prediction" and _are_columns(candidate[name], reference[name]):
        return _worst_column(candidate[name], eager=eager[name], reference=reference[name], judge=judge)
    if name != "probabilities":
        judged = judge(candidate[name], eager=eager[name], reference=reference[name])
        if not apart:
            return judged
        small = _worst_small_part(candidate[name], eager=eager[name], reference=reference[name])
        return small if judged.passed and small is not None and not small.passed else judged
    plain = numeric_parity(candidate[name], eager=eager[name], reference=reference[name])
    if plain.fault is not None or not _are_activated(candidate, reference):
        return plain
    if not plain.passed and not judge(candidate["logits"], eager=eager["logits"], reference=reference["logits"]).passed:
        return plain
    own = numeric_parity(
        candidate[name],
        eager=eager[name],
        reference=_activate(candidate["logits"]),
        eager_reference=_activate(eager["logits"]),
    )
    return own if plain.passed != own.passed else plain


def _are_activated(candidate: Arrays, reference: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether probabilities are the softmax of logits; of tensors with these names, they need not be."""
    logits, expected = reference.get("logits"), reference["probabilities"]
    if logits is None or logits.ndim != 2 or logits.shape != expected.shape or logits.dtype.kind != "f":
        return False
    found = candidate.get("logits")
    if found is None or found.shape != logits.shape or not np.isfinite(found).all():
        return False
    return bool(np.abs(_activate(logits) - expected).max() <= _SAME)


def _are_columns(candidate: NDArray[Any], reference: NDArray[np.float64]) -> bool:
    return candidate.shape == reference.shape and reference.ndim == 2 and reference.shape[1] > 1


def _worst_column(
    candidate: NDArray[Any],
    *,
    eager: NDArray[np.float32],
    reference: NDArray[np.float64],
    judge: Callable[..., NumericParity],
) -> NumericParity:
    judged = [
        replace(judge(candidate[:, [c]], eager=eager[:, [c]], reference=reference[:, [c]]), column=c)
        for c in range(reference.shape[1])
    ]
    return max(judged, key=lambda parity: parity.ratio)


def _worst_small_part(
    candidate: NDArray[Any], *, eager: NDArray[np.float32], reference: NDArray[np.float64]
) -> NumericParity | None:
    """Judge what is small beside the rest of an output, along the second and the last axis; None where nothing is."""
    if candidate.shape != reference.shape or eager.dtype.kind in "iu" or len(reference) < LEAST_ROWS:
        return None
    scale, found = rms(reference), []
    for axis in {1, reference.ndim - 1} if reference.ndim > 1 else ():
        if not 1 < reference.shape[axis] <= _MOST_PARTS:
            continue
        for index in range(reference.shape[axis]):
            part = np.take(reference, [index], axis)
            if rms(part) < _SMALL * scale:
                own = numeric_parity(
                    np.take(candidate, [index], axis), eager=np.take(eager, [index], axis), reference=part
                )
                found.append(own.widened(_SMALL_SLACK))
    return max(found, key=lambda parity: parity.ratio, default=None)


def _activate(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return softmax of each row in float64; of a single logit, its sigmoid."""
    wide = logits.astype(np.float64)
    if wide.shape[1] == 1:
        wide = np.concatenate([np.zeros_like(wide), wide], axis=1)
    exponentials = np.exp(wide - wide.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities[:, -logits.shape[1] :]
