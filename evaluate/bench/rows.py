"""All runners at one batch size, timed in turn."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.bench.entrants import EAGER, Entrant
from evaluate.bench.result import BenchRow, Peak
from evaluate.bench.settings import Settings
from evaluate.bench.timing import affordable_rounds, ratio_interval, time_in_turn, warm_up


def rows_at(
    entrants: Sequence[Entrant],
    batch: Mapping[str, NDArray[Any]],
    *,
    settings: Settings,
    peaks: Sequence[Peak] = (),
    flops_per_row: int = 0,
    on_round: Callable[[int, int], None] = lambda _, __: None,
) -> list[BenchRow]:
    """Time all runners on one batch.

    Args:
        entrants: Who takes part; eager, which the others are held against, is the first.
        batch: Inputs by name, ``(rows, …)``.
        settings: Rounds and seconds.
        peaks: What the devices do at most.
        flops_per_row: Floating-point operations of one row, 0 where they are not known.
        on_round: Told which round comes, and of how many.
    """
    warm = [warm_up(partial(entrant.runner.run, batch), seconds=settings.seconds) for entrant in entrants]
    rounds = affordable_rounds(warm, rounds=settings.rounds, seconds=settings.seconds)
    seconds = time_in_turn(warm, rounds=rounds, on_round=lambda turn: on_round(turn, rounds))
    return [
        _row(entrant, batch, seconds[index], seconds[0], peaks=peaks, flops_per_row=flops_per_row)
        for index, entrant in enumerate(entrants)
    ]


def _row(
    entrant: Entrant,
    batch: Mapping[str, NDArray[Any]],
    seconds: NDArray[np.float64],
    eager: NDArray[np.float64],
    *,
    peaks: Sequence[Peak],
    flops_per_row: int,
) -> BenchRow:
    size = len(next(iter(batch.values())))
    low, median, high = (float(value) for value in np.quantile(seconds, (0.25, 0.5, 0.75)))
    peak = next((peak for peak in peaks if (peak.device == "cuda") == entrant.on_cuda), None)
    moved = entrant.size_bytes + sum(values.nbytes for values in batch.values())
    return BenchRow(
        batch_size=size,
        runner=entrant.name,
        provider=entrant.provider,
        precision=entrant.precision,
        size_bytes=entrant.size_bytes,
        rounds=len(seconds),
        median_ms=1000 * median,
        quartile_ms=(1000 * low, 1000 * high),
        rows_per_s=size / median,
        speed_over_eager=float(np.median(eager)) / median,
        speed_interval_95=None if entrant.name == EAGER else ratio_interval(eager, seconds),
        share_of_flops=flops_per_row * size / median / peak.flops if peak and flops_per_row else None,
        share_of_bytes=moved / median / peak.bytes_per_s if peak else None,
    )
