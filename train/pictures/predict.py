"""What a network says of rows, as plain arrays on the CPU."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.loop import EVALUATION_BATCH, decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a classifier says of rows.

    Attributes:
        probabilities: ``(rows, classes)`` float32; rows sum to 1. A binary classification has two classes here.
        class_index: ``(rows,)`` int64, as `train.loop.decide` decides.
    """

    probabilities: NDArray[np.float32]
    class_index: NDArray[np.int64]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Return the probability of the class that was chosen, ``(rows,)``."""
        chosen: NDArray[np.float32] = np.take_along_axis(self.probabilities, self.class_index[:, None], axis=1)[:, 0]
        return chosen


def run_network(network: nn.Module, input_module: nn.Module, inputs: NDArray[Any]) -> Tensor:
    """Run a network in evaluation mode over rows, wherever it lies; it is left in the mode in which it was.

    Args:
        network: On the device of the input module.
        input_module: From `train.models.inputs.build_input`.
        inputs: Images ``(rows, height, width, channels)`` uint8, or a table ``(rows, features)`` float32.

    Returns:
        ``(rows, outputs)``, on the CPU.
    """
    device = next(input_module.buffers()).device
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            chunks: list[Tensor] = [
                network(input_module(torch.tensor(inputs[first : first + EVALUATION_BATCH], device=device))).cpu()
                for first in range(0, len(inputs), EVALUATION_BATCH)
            ]
    finally:
        network.train(training)
    return torch.cat(chunks)


def as_answers(logits: Tensor) -> Answers:
    """Return probabilities and decisions of logits ``(rows, classes)``; of one per row for a binary classification."""
    spread = torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits
    return Answers(probabilities=torch.softmax(spread, dim=1).numpy(), class_index=decide(logits).numpy())
