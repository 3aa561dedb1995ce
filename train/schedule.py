"""How the learning rate changes from epoch to epoch."""

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau, StepLR

STEP_EPOCHS = 2  # Source: 003 L10458-10531, StepLR(step_size=2, gamma=0.7)
STEP_FACTOR = 0.7
PLATEAU_EPOCHS = 2
PLATEAU_FACTOR = 0.5

# Each takes the optimizer and the number of epochs; constant is no schedule at all.
SCHEDULES: dict[str, Callable[[Optimizer, int], LRScheduler | None]] = {
    "constant": lambda _optimizer, _epochs: None,
    "step": lambda optimizer, _epochs: StepLR(optimizer, STEP_EPOCHS, STEP_FACTOR),
    "cosine": lambda optimizer, epochs: CosineAnnealingLR(optimizer, T_max=epochs),
    "plateau": lambda optimizer, _epochs: ReduceLROnPlateau(optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_EPOCHS),
}


def advance(schedule: LRScheduler | None, validation_loss: float | None) -> None:
    """Set the learning rate of the next epoch.

    Args:
        schedule: From `SCHEDULES`; None changes nothing.
        validation_loss: Of the epoch that is over; plateau alone looks at it.
    """
    if isinstance(schedule, ReduceLROnPlateau):
        if validation_loss is None:
            raise ValueError("schedule plateau needs a validation loss, but there is none; set rows aside for it")
        schedule.step(validation_loss)
    elif schedule is not None:
        schedule.step()
