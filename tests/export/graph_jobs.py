"""A small network with layers of every kind that the formats treat differently, and the jobs to write it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.formats import FORMATS
from export.graph_job import INLINE_BYTES, GraphFile, GraphJob
from serve.bundle import TensorSpec

LABELS = ("circle", "cross", "line")
INPUTS = (TensorSpec(name="image", dtype="uint8", shape=("batch", 8, 8, 1)),)
OUTPUTS = tuple(
    TensorSpec(name=name, dtype="float32", shape=("batch", len(LABELS))) for name in ("logits", "probabilities")
)
ROWS = np.random.default_rng(0).integers(0, 256, (128, 8, 8, 1), dtype=np.uint8)


class Small(nn.Module):
    """Normalise, convolve, pool, and decide."""

    def __init__(self, *, scale: float = 1, width: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(width * 9, len(LABELS))
        self.mean = nn.Buffer(torch.tensor(0.25))
        self.scale = scale

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        pixels = image.to(self.head.weight.dtype).permute(0, 3, 1, 2) / 255 - self.mean
        logits = self.head(self.layers(pixels * self.scale))
        return logits, torch.softmax(logits, dim=1)


def job_of(
    folder: Path,
    module: nn.Module | None = None,
    *,
    calibration: Mapping[str, Any] | None = None,
    **changes: Any,
) -> GraphJob:
    folder.mkdir(exist_ok=True)
    options: dict[str, Any] = {
        "name": "small",
        "labels": LABELS,
        "examples": (torch.from_numpy(ROWS[:2]),),
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "inline_bytes": INLINE_BYTES,
    }
    return GraphJob(
        module=(module or Small()).eval(),
        calibration={"image": ROWS} if calibration is None else calibration,
        folder=folder,
        **(options | changes),
    )


def write(job: GraphJob, *names: str) -> tuple[GraphFile, ...]:
    """Write formats one after the other, and return the files of the last."""
    return [FORMATS[name](job) for name in names][-1]


def before(name: str) -> tuple[str, ...]:
    """Return a format with what it is made from."""
    return ("onnx", name) if name in {"onnx-fp16", "onnx-int8", "triton"} else (name,)
