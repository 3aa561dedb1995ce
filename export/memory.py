"""What a step of an export held and nothing needs any more goes back to the system before the next step."""

import ctypes
import gc
import sys

LARGE_BYTES = 150_000_000
"""Weights from which on memory is looked after; looking through all objects for circles takes time, too."""


def release_memory(weights_bytes: int) -> None:
    """Free what only circles of references hold, and give free pages back, where there are many weights.

    Exporters leave graphs that hold weights in circles. And glibc keeps tensors that were freed: after the first of
    them it no longer asks the system for each one, so that steps that need the same memory in turn add up.

    Source: man 3 mallopt, M_MMAP_THRESHOLD; man 3 malloc_trim.
    """
    if weights_bytes < LARGE_BYTES:
        return
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim is not None:
            trim(0)
