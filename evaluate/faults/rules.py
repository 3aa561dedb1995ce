"""Acceptance rules in common use beside ours: plain functions that take two arrays, or three, and say yes or no."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Accepts = Callable[[Array, Array, Array], bool]

OURS = "Facsimile"
_FEW = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        name: What tables call it.
        says: What it asks, in short.
        accepts: Takes the graph's output, eager's in float32 and the reference in float64, all of one shape.
    """

    name: str
    says: str
    accepts: Accepts


def close(actual: Array, expected: Array, *, rtol: float, atol: float, equal_nan: bool = False) -> bool:
    """Return whether every ``|actual - expected| <= atol + rtol x |expected|``, as NumPy and PyTorch ask it."""
    with np.errstate(all="ignore"):
        within = np.abs(actual - expected) <= atol + rtol * np.abs(expected)
    near = (within & np.isfinite(expected)) | (actual == expected)
    if equal_nan:
        near |= np.isnan(actual) & np.isnan(expected)
    return bool(near.all())


def three_decimals(actual: Array, expected: Array) -> bool:
    """Return whether every difference is below 0.0015, as `numpy.testing.assert_almost_equal` asks with decimal 3."""
    with np.errstate(all="ignore"):
        near = np.abs(actual - expected) < 1.5e-3
    return bool((near | (actual == expected) | (np.isnan(actual) & np.isnan(expected))).all())


def onnx_verify(actual: Array, expected: Array) -> bool:
    """Return what `torch.onnx.export(..., verify=True)` finds: it objects to a difference of 5e-3 or more.

    And to a relative one of 1e-1 or more; NaN is neither, so that it passes.

    Source: torch 2.15, onnx/_internal/exporter/_core.py and _verification.py.
    """
    with np.errstate(all="ignore"):
        difference = np.abs(expected - actual)
        relative = difference / (np.abs(expected) + np.float32(1e-7))
    return not (difference.max() >= 5e-3 or relative.max() >= 1e-1)


def dynamo_same(actual: Array, expected: Array, reference: Array, *, tolerance: float = 1e-4) -> bool:
    """Return what `same` of torch.compile's benchmarks finds.

    It passes what is close by the tolerance, and else what is no further from float64 than twice eager's own rmse
    (three times, of fewer than 1000 values) and a tenth of the tolerance.

    Source: torch 2.15, _dynamo/utils.py.
    """
    if close(actual, expected, rtol=tolerance, atol=tolerance):
        return True
    factor = 3.0 if reference.size < _FEW else 2.0
    with np.errstate(all="ignore"):
        return bool(_rmse(actual, reference) <= factor * _rmse(expected, reference) + tolerance / 10)


def polygraphy(actual: Array, expected: Array) -> bool:
    """Return what Polygraphy finds by default: it objects to values that miss both bounds, 1e-5 and 1e-5 relative."""
    with np.errstate(all="ignore"):
        difference = np.abs(actual - expected)
        return bool(((difference <= 1e-5) | (difference / np.abs(expected) <= 1e-5)).all())


RULES: tuple[Rule, ...] = (
    Rule(
        name="`numpy.allclose` 1e-5",
        says="rtol 1e-5 and atol 1e-5",
        accepts=lambda actual, expected, _: close(actual, expected, rtol=1e-5, atol=1e-5),
    ),
    Rule(
        name="`torch.testing.assert_close`",
        says="rtol 1.3e-6 and atol 1e-5, its defaults for float32",
        accepts=lambda actual, expected, _: close(actual, expected, rtol=1.3e-6, atol=1e-5),
    ),
    Rule(
        name="three decimals",
        says="no difference of 1.5e-3, as `assert_almost_equal(decimal=3)`",
        accepts=lambda actual, expected, _: three_decimals(actual, expected),
    ),
    Rule(
        name="`torch.onnx` verify",
        says="no difference of 5e-3, and none of 1e-1 relative",
        accepts=lambda actual, expected, _: onnx_verify(actual, expected),
    ),
    Rule(
        name="ONNX backend tests",
        says="rtol 1e-3 and atol 1e-7",
        accepts=lambda actual, expected, _: close(actual, expected, rtol=1e-3, atol=1e-7, equal_nan=True),
    ),
    Rule(
        name="dynamo's `same`",
        says="1e-4, or rmse against float64 within 2 x eager's and 1e-5",
        accepts=dynamo_same,
    ),
    Rule(
        name="Polygraphy",
        says="1e-5 or 1e-5 relative, of every value",
        accepts=lambda actual, expected, _: polygraphy(actual, expected),
    ),
)


def _rmse(actual: Array, expected: Array) -> float:
    return float(np.sqrt(np.mean(np.square(expected - actual.astype(np.float64)))))
