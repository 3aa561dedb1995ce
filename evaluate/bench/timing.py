"""Timing calls in turn, so that a machine that slows down slows all of them; and how sure a ratio of them is."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]
LEAST_ROUNDS = 3
_WARM_UP = 3
_WARM_UP_SHARE = 0.25  # of the time that one call may take in all
_SLICE_S = 0.02  # one measurement lasts at least this long, so that the clock's own step does not show
_RESAMPLES = 2000
_LEAST_FOR_INTERVAL = 6  # of fewer rounds, a resample is too often all the same one


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A call that ran already.

    Attributes:
        call: Runs once.
        repeats: Calls that make one measurement.
        slice_s: How long one measurement takes, about.
    """

    call: Call
    repeats: int
    slice_s: float


def warm_up(call: Call, *, seconds: float) -> Warm:
    """Run a call until it is warm, and see how many make one measurement.

    Args:
        call: Runs once.
        seconds: What all its measurements may take, 0 for no bound; costly ones are warmed up fewer times.
    """
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    if once > seconds > 0:
        return Warm(call=call, repeats=1, slice_s=once)
    for _ in range(_WARM_UP - 1):
        call()
        if time.perf_counter() - start > _WARM_UP_SHARE * seconds:
            break
    else:
        call()
    single = max(_time(call, 1), 1e-6)
    repeats = max(1, round(_SLICE_S / single))
    return Warm(call=call, repeats=repeats, slice_s=repeats * single)


def affordable_rounds(warm: Sequence[Warm], *, rounds: int, seconds: float) -> int:
    """Return how many rounds fit into so many seconds a call: at least 3, at most what was asked for."""
    fit = math.floor(seconds * len(warm) / sum(one.slice_s for one in warm))
    return min(rounds, max(LEAST_ROUNDS, fit))


def time_in_turn(
    warm: Sequence[Warm], *, rounds: int, on_round: Callable[[int], None] = lambda _: None
) -> NDArray[np.float64]:
    """Give each call its turn in every round.

    Returns:
        Seconds of one call, ``(calls, rounds)``.
    """
    seconds = np.empty((len(warm), rounds))
    for turn in range(rounds):
        on_round(turn)
        for index, one in enumerate(warm):
            seconds[index, turn] = _time(one.call, one.repeats)
    return seconds


def ratio_interval(
    reference: NDArray[np.float64], candidate: NDArray[np.float64], *, seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of the reference's median over the candidate's.

    Rounds are drawn whole: what slowed both in the same round is not taken for a difference.

    Args:
        reference: Seconds, ``(rounds,)``.
        candidate: Seconds in the same rounds.
        seed: Decides the draws.
    """
    rounds = len(reference)
    if rounds < _LEAST_FOR_INTERVAL:
        return None
    drawn = np.random.default_rng(seed).integers(rounds, size=(_RESAMPLES, rounds))
    ratios = np.median(reference[drawn], axis=1) / np.median(candidate[drawn], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def _time(call: Call, repeats: int) -> float:
    """Return seconds a call, over some calls in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
