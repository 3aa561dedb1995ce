"""Which processor there is to run on: usable CPUs, and whether an NVIDIA device is really there."""

import ctypes
import os
import platform
from pathlib import Path
from typing import Literal

Provider = Literal["CPUExecutionProvider", "CUDAExecutionProvider"]
Choice = Literal["auto", "cpu", "cuda"]

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class ProviderError(ValueError):
    """A provider that was asked for and is not usable on this machine."""


def usable_cpus() -> int:
    """Return how many CPUs this process may use: its affinity, and the container's quota where there is one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not _CPU_QUOTA.is_file():
        return affinity
    quota, _, period = _CPU_QUOTA.read_text(encoding="ascii").partition(" ")
    return affinity if quota == "max" else max(1, min(affinity, int(quota) // int(period)))


def cuda_fault() -> str | None:
    """Return why no NVIDIA device can be used, asking the driver itself, or None where one can."""
    library = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return f"no NVIDIA driver is installed ({library} was not found)"
    status = int(driver.cuInit(0))
    if status != 0:
        return f"the NVIDIA driver reports error {status} at cuInit"
    count = ctypes.c_int(0)
    status = int(driver.cuDeviceGetCount(ctypes.byref(count)))
    if status != 0 or count.value == 0:
        return "the NVIDIA driver finds no device"
    return None


def choose_provider(choice: Choice) -> tuple[Provider, str]:
    """Return ONNX Runtime's exact provider name, and why that one.

    Raises:
        ProviderError: CUDA was asked for, and there is no device for it.
    """
    if choice == "cpu":
        return "CPUExecutionProvider", "asked for"
    fault = cuda_fault()
    if choice == "cuda":
        if fault is not None:
            raise ProviderError(f"provider is cuda, but {fault}; install the driver, or use --provider cpu")
        return "CUDAExecutionProvider", "asked for"
    if fault is not None:
        return "CPUExecutionProvider", fault
    return "CUDAExecutionProvider", "an NVIDIA device is there"
