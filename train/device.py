"""Which device training runs on, and why not another."""

from dataclasses import dataclass
from typing import Literal

import torch

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


class DeviceError(ValueError):
    """A device that was asked for and is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChoice:
    """A device and, in one sentence for people, why it and not another."""

    device: torch.device
    reason: str


def choose_device(requested: DeviceName) -> DeviceChoice:
    """Return the device that was asked for; ``auto`` takes cuda before mps before cpu.

    Raises:
        DeviceError: the device is not there. Nothing falls back to another one.
    """
    if requested == "cpu":
        return DeviceChoice(device=torch.device("cpu"), reason="asked for")
    faults = {"cuda": _cuda_fault(), "mps": _mps_fault()}
    if requested != "auto":
        fault = faults[requested]
        if fault is not None:
            raise DeviceError(f"device {requested} was asked for, but {fault}; give --device auto or --device cpu")
        return DeviceChoice(device=torch.device(requested), reason=f"asked for{_name(requested)}")
    for name, fault in faults.items():
        if fault is None:
            return DeviceChoice(device=torch.device(name), reason=f"the fastest one here{_name(name)}")
    return DeviceChoice(
        device=torch.device("cpu"), reason="; ".join(f"no {name}: {fault}" for name, fault in faults.items())
    )


def _cuda_fault() -> str | None:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA driver or no GPU"
    return None


def _mps_fault() -> str | None:
    if not torch.backends.mps.is_built():
        return f"torch {torch.__version__} is built without Metal"
    if not torch.backends.mps.is_available():
        return "this macOS or this Mac has no Metal device"
    return None


def _name(device: str) -> str:
    return f" ({torch.cuda.get_device_name()})" if device == "cuda" else ""
