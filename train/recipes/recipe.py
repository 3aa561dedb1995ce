"""What a recipe is: everything that decides what a training run computes, as plain data."""

import math
from dataclasses import dataclass
from typing import Literal

from serve.bundle import ImagePreprocessing, Task


class RecipeError(ValueError):
    """A recipe that does not exist, or that cannot be trained as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model, its data and how it is trained. Holds no torch object, so that listing recipes is instant.

    Attributes:
        name: The id on the command line.
        title: One line for people.
        task: What the outputs mean.
        data: A name in `train.data.DATASETS`.
        labels: Human names, in the order of the class indices.
        factory: ``package.module:callable`` that builds the network: normalised float NCHW images in, logits out.
        factory_args: Keyword arguments of the factory.
        parameters: How many trainable numbers the network has.
        preprocessing: How an image becomes the array the graph takes.
        mean: Per-channel mean subtracted after the division by 255.
        std: Per-channel standard deviation divided by.
        augmentation: A name in `train.augment.AUGMENTATIONS`, applied to training batches only, or None.
        optimizer: Update rule.
        learning_rate: Its step size.
        batch_size: Rows per step.
        epochs: Passes over the training split.
        seed: Set right before the network is built.
        threads: CPU threads that pay off for so small a network, or None for torch's own choice.
        notes_accuracy: Test accuracy that the source notes print, fraction in [0, 1], or None.
        notes_loss: Test loss that the source notes print, or None.
        notes: Where in the source notes the recipe comes from, or why it exists.
    """

    name: str
    title: str
    task: Task
    data: str
    labels: tuple[str, ...]
    factory: str
    factory_args: dict[str, int | float | str | bool]
    parameters: int
    preprocessing: ImagePreprocessing
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: str | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.1
    batch_size: int = 32
    epochs: int = 3
    seed: int = 42
    threads: int | None = None
    notes_accuracy: float | None = None
    notes_loss: float | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        for field, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("threads", 1)):
            value = getattr(self, field)
            if value is not None and value < least:
                raise RecipeError(
                    f"recipe {self.name} has {field} {value}, but at least {least} was expected; give a larger one"
                )
        if self.seed >= 2**63:
            raise RecipeError(
                f"recipe {self.name} has seed {self.seed}, but it must be below 2**63; give a smaller one"
            )
        if not 0 < self.learning_rate < math.inf:
            raise RecipeError(
                f"recipe {self.name} has learning_rate {self.learning_rate}, but a finite number above 0 was expected; "
                "give one such as 0.01"
            )
