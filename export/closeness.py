"""How near a graph of reduced precision comes to the float32 graph that it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.graph_job import GraphJob
from export.memory import release_memory
from export.module_runner import run_batches
from export.onnx_graph import open_graph, weights_bytes
from serve.decisions import decide

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
    def order(self) -> tuple[bool, int, float]:
        """Key by which the best of several comes first; one whose error is no finite number comes last."""
        broken = bool(np.isnan(self.sqnr_db) or self.sqnr_db == -np.inf)
        return broken, self.flips or 0, 0.0 if broken else -self.sqnr_db


def measure_closeness(
    candidate: Path,
    expected: NDArray[np.float64],
    rows: Mapping[str, NDArray[Any]],
    job: GraphJob,
    *,
    lean: bool = False,
) -> Closeness:
    """Compare a graph's first output, ``logits`` or ``prediction``, with what `first_output` gave of another's."""
    return compare(first_output(candidate, rows, job, lean=lean), expected, decisive=_decisive(job))


def first_output(
    path: Path, rows: Mapping[str, NDArray[Any]], job: GraphJob, *, lean: bool = False
) -> NDArray[np.float64]:
    """Run a graph's first output on rows; the graph is closed again, so that no two are held at once.

    Args:
        path: The graph.
        rows: Rows of each input, ``(rows, …)``.
        job: What the graph was written for.
        lean: Whether it is run as it is written, in little memory, and not as it is served.
    """
    outputs = run_batches(open_graph(path, job, lean=lean), rows, batch_size=_BATCH)
    release_memory(weights_bytes(path))
    return outputs[job.outputs[0].name].astype(np.float64)


def compare(actual: NDArray[np.float64], expected: NDArray[np.float64], *, decisive: bool) -> Closeness:
    """Say how near one output comes to another, ``(rows, …)``."""
    noise = float(np.square(actual - expected).sum())
    power = float(np.square(expected).sum())
    return Closeness(
        rows=len(expected),
        flips=int((decide(actual) != decide(expected)).sum()) if decisive else None,
        sqnr_db=10 * float(np.log10(power / noise)) if noise != 0 else np.inf,
    )


def _decisive(job: GraphJob) -> bool:
    return job.outputs[0].name == "logits"
