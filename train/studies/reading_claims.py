"""The notes' claims about reading images, and this project's own aims, judged apart by the timings."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

from train.studies.loaders import Timing
from train.studies.result import Check

ONLINE, OFFLINE, PERSISTENT, PINNED = "resizing", "resized before", "resizing, persistent", "resizing, pinned"
UNPINNED = f"{PERSISTENT}, copied"
MEMORY = "in memory"
HELPS = 1.2  # a ratio from here on is a gain: the notes' own repetitions differ by less
NO_EFFECT = 0.1  # a ratio this near to 1 is none: the notes' own repetitions differ by more
Key = tuple[str, int, int]
"""Arm, batch size and number of workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Seconds to read the whole training split for the first time at its own size, a new loader included."""

    loader: float
    floats: float
    stored: float
    copy_floats: float
    copy_stored: float


def grid_checks(
    timings: dict[Key, Timing], batches: tuple[int, ...], workers: tuple[int, ...], *, cores: int
) -> tuple[Check, ...]:
    """Return the notes' claims beside what was measured; more workers than cores prove nothing about workers."""
    small, large, most = batches[0], batches[-1], workers[-1]
    four = 4 if most >= 4 else most
    batching = timings[ONLINE, small, four].printed_s / timings[ONLINE, large, four].printed_s
    steps = [
        (fewer, more, timings[ONLINE, large, fewer].printed_s / timings[ONLINE, large, more].printed_s)
        for fewer, more in pairwise(workers[1:])
    ]
    printed = {1: 1.69, 2: 1.56, 4: 1.22}
    persistent = [key[1:] for key in timings if key[0] == PERSISTENT]
    first = mean(timings[PERSISTENT, *cell].printed_s / timings[ONLINE, *cell].printed_s for cell in persistent)
    later = mean(timings[ONLINE, *cell].later_pass_s / timings[PERSISTENT, *cell].later_pass_s for cell in persistent)
    cells = [(batch, number) for batch in batches for number in workers if number]
    offline = [timings[ONLINE, *cell].printed_s / timings[OFFLINE, *cell].printed_s for cell in cells]
    best = fastest_workers(timings, large, workers)
    return (
        Check(f"batch {large} against {small}", "36 x (45.01 s, 1.25 s)", f"{batching:.3g} x", holds=batching >= 3),
        *(
            Check(
                f"{more} workers against {fewer}, batch {large}",
                f"{printed[fewer]} x",
                f"{ratio:.2f} x" + ("" if more <= cores else f", on {cores} core{'' if cores == 1 else 's'}"),
                holds=(ratio >= HELPS) == (printed[fewer] >= HELPS) if more <= cores else None,
            )
            for fewer, more, ratio in steps
        ),
        Check("persistent, new loader and one pass", "0.999 x the time", f"{first:.3f} x", abs(first - 1) < NO_EFFECT),
        Check("persistent, later passes", "not measured", f"{later:.2f} x as fast", None),
        Check("pinned, copied to a device", "not measured", _pinned(timings), None),
        Check(
            "resizing beforehand",
            "0.85 to 3.54 x as fast",
            f"{min(offline):.2f} to {max(offline):.2f} x",
            max(offline) >= HELPS,
        ),
        Check(
            f"memory against the best loader, batch {large}",
            "not measured",
            _ratio(timings[ONLINE, large, best], timings[MEMORY, large, 0]),
            None,
        ),
        Check(f"fastest number of workers, batch {large}", "0 not measured", f"{best}", None),
    )


def fastest_workers(timings: dict[Key, Timing], batch: int, workers: tuple[int, ...]) -> int:
    """Return the number of workers that a new loader reads once with in the shortest time."""
    return min(workers, key=lambda number: timings[ONLINE, batch, number].printed_s)


def _ratio(slow: Timing, fast: Timing) -> str:
    return f"{slow.printed_s / fast.printed_s:.3g} x as fast"


def _pinned(timings: dict[Key, Timing]) -> str:
    cells = [key[1:] for key in timings if key[0] == PINNED]
    if not cells:
        return "needs CUDA: not measured"
    ratio = mean(timings[UNPINNED, *cell].later_pass_s / timings[PINNED, *cell].later_pass_s for cell in cells)
    return f"{ratio:.2f} x as fast"


def whole_checks(whole: Whole) -> tuple[Check, ...]:
    """Return this project's own aims beside what was measured."""
    loader, floats, stored = (
        whole.loader / whole.floats,
        whole.floats / whole.copy_floats,
        whole.stored / whole.copy_stored,
    )
    return (
        Check("all images: memory against a DataLoader", "at least 40 x", f"{loader:.3g} x as fast", loader >= 40),
        Check("all images: memory against copying floats", "at most 3 x", f"{floats:.2f} x the time", floats <= 3),
        Check("all images: memory against copying bytes", "at most 3 x", f"{stored:.2f} x the time", stored <= 3),
    )
