"""How much memory this process has held, holds, and could still have."""

import contextlib
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_KIB = 1024


def peak_bytes() -> int | None:
    """Return the greatest resident memory of this process so far, or None where the system does not say.

    Not ``ru_maxrss`` on Linux: it starts with the parent's memory where Python forks as cheaply as it can.

    Source: man 5 proc, VmHWM; exec_mmap in fs/exec.c of Linux keeps the old memory's peak in ru_maxrss.
    """
    if _STATUS.is_file():
        return _field(_STATUS, "VmHWM")
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else _KIB * peak


def held_bytes() -> int | None:
    """Return the resident memory of this process now, or None where the system does not say."""
    return _field(_STATUS, "VmRSS") if _STATUS.is_file() else None


def forget_peak() -> None:
    """Let the greatest resident memory count from now on, where the system can.

    Source: man 5 proc, clear_refs.
    """
    with contextlib.suppress(OSError):
        if _CLEAR.is_file():
            _CLEAR.write_text("5", encoding="ascii")


def free_bytes() -> int | None:
    """Return how much more memory processes may take before the system ends one, or None where it does not say."""
    if not _MEMINFO.is_file():
        return None
    free = _field(_MEMINFO, "MemAvailable")
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.is_file() and used.is_file():
        text = limit.read_text(encoding="ascii").strip()
        if text != "max":
            left = max(0, int(text) - int(used.read_text(encoding="ascii")))
            free = left if free is None else min(free, left)
    return free


def _field(path: Path, name: str) -> int | None:
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return _KIB * int(value.split()[0])
    return None
