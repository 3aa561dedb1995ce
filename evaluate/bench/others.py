"""Whether other processes keep this machine's processors busy, which no figure of a benchmark would show."""

import time
from pathlib import Path

_STAT = Path("/proc/stat")
_WAIT_S = 0.3
_IDLE = (3, 4)  # places in the line of all processors: idle, and waiting for a disk
_MANY = 0.2


def busy_cpus(stat: Path = _STAT, *, wait_s: float = _WAIT_S) -> float | None:
    """Return how many processors are busy while this process waits; None where the system does not tell (Linux only).

    Args:
        stat: What tells; see proc_stat(5).
        wait_s: For how long to look.
    """
    before = _times(stat)
    time.sleep(wait_s)
    after = _times(stat)
    if before is None or after is None:
        return None
    passed = [new - old for old, new in zip(before[0], after[0], strict=True)]
    total = sum(passed)
    return before[1] * (1 - sum(passed[place] for place in _IDLE) / total) if total > 0 else None


def warning(busy: float | None) -> str | None:
    """Return a sentence where others take more than a fifth of a processor, or None."""
    if busy is None or busy <= _MANY:
        return None
    return (
        f"other processes kept {busy:.1f} CPUs busy when this began: times and ratios may be far off, whatever their "
        "intervals say; measure again on a quiet machine"
    )


def _times(stat: Path) -> tuple[list[int], int] | None:
    """Return the ticks of all processors together, by what they did, and how many processors there are."""
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return None
    cpus = [line.split() for line in lines if line.startswith("cpu")]
    # what guests use is counted as the user's already
    return ([int(ticks) for ticks in cpus[0][1:9]], len(cpus) - 1) if len(cpus) > 1 else None
