"""All that a training step changes besides the network: what a checkpoint must hold to go on bit for bit."""

from typing import Any

import torch
from torch import Tensor, nn

from train.optimizer import build_optimizer
from train.recipes.recipe import Recipe
from train.row_order import RowOrder
from train.schedule import SCHEDULES


class TrainingState:
    """Optimizer, schedule, and every source of chance.

    Args:
        network: On the device to train on.
        recipe: Says which optimizer and schedule, and the seed.
        rows: How many are trained on.
        device: Of the network.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, *, rows: int, device: torch.device) -> None:
        self.epochs_done = 0
        self.device = device
        self.optimizer = build_optimizer(network, recipe)
        self.schedule = SCHEDULES[recipe.schedule](self.optimizer, recipe.epochs)
        self.order = RowOrder(rows, recipe.seed if recipe.seed_order else None)
        self.augmentation = torch.Generator(device).manual_seed(recipe.seed)

    @property
    def learning_rate(self) -> float:
        """The one of the epoch to come."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return a copy on the CPU: plain numbers and tensors, which ``torch.load(weights_only=True)`` reads."""
        return {
            "epochs_done": self.epochs_done,
            "optimizer": _copy(self.optimizer.state_dict()),
            "schedule": None if self.schedule is None else _copy(self.schedule.state_dict()),
            "order": self.order.generator.get_state(),
            "augmentation": self.augmentation.get_state(),
            "cpu": torch.get_rng_state(),  # dropout draws from the device's global generator
            "device": _device_state(self.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state, the global generators included."""
        self.epochs_done = int(state["epochs_done"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.order.generator.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["device"], self.device)
        elif self.device.type == "mps":
            torch.mps.set_rng_state(state["device"])


def _device_state(device: torch.device) -> Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def _copy(value: Any) -> Any:  # noqa: ANN401 - what an optimizer's state holds is its own affair
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value
