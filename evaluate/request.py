"""What a certificate was asked for with."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from evaluate.certificate import Mode
from evaluate.source import HeldOut
from evaluate.ways import Optimization
from export.factory import Factory
from serve.devices import Choice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What `evaluate.judge.certify` was asked for; see there."""

    data_root: Path
    provider: Choice
    samples: int | None
    seed: int
    mode: Mode
    max_drop: float
    factory: Factory | None
    module: nn.Module | None
    threads: int | None
    optimization: Optimization | None
    graphs: tuple[str, ...]
    held_out: HeldOut | None
