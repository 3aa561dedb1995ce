"""How near a graph of reduced precision comes to the float32 graph that it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.graph_job import GraphJob
from export.module_runner import run_batches
from serve.runner import Runner

_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """What was measured.

    Attributes:
        rows: How many rows it was measured on.
        flips: How many of them are decided otherwise; None where the model decides nothing.
        sqnr_db: Power of the first output over the power of its error, decibels; infinite where they are equal.
    """

    rows: int
    flips: int | None
    sqnr_db: float

    def __str__(self) -> str:
        flips = "" if self.flips is None else f"{self.flips} of {self.rows} decisions differ from float32's, "
        return f"{flips}SQNR {self.sqnr_db:.1f} dB over {self.rows} rows"

    @property
    def order(self) -> tuple[int, float]:
        """Key by which the best of several comes first; NaN comes last."""
        return self.flips or 0, -self.sqnr_db if np.isfinite(self.sqnr_db) or self.sqnr_db > 0 else np.inf


def measure_closeness(
    candidate: Runner, reference: Runner, rows: Mapping[str, NDArray[Any]], job: GraphJob
) -> Closeness:
    """Compare the first output, ``logits`` or ``prediction``, of two graphs on the same rows."""
    name = job.outputs[0].name
    actual = run_batches(candidate, rows, batch_size=_BATCH)[name].astype(np.float64)
    expected = run_batches(reference, rows, batch_size=_BATCH)[name].astype(np.float64)
    noise = float(np.square(actual - expected).sum())
    power = float(np.square(expected).sum())
    return Closeness(
        rows=len(expected),
        flips=int((_decisions(actual) != _decisions(expected)).sum()) if name == "logits" else None,
        sqnr_db=10 * float(np.log10(power / noise)) if noise != 0 else np.inf,
    )


def _decisions(logits: NDArray[np.float64]) -> NDArray[Any]:
    return logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
