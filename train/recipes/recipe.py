"""What a recipe is: everything that decides what a training run computes, as plain data."""

import math
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from serve.bundle import Feature, ImagePreprocessing, Task

Loss = Literal["cross-entropy", "binary-cross-entropy", "l1", "mse", "half-mse"]
ScheduleName = Literal["constant", "step", "cosine", "plateau"]
ClassWeights = Literal["none", "balanced"]
MOST_THREADS = 1024  # more than any machine has cores; asking for millions ends the process


class RecipeError(ValueError):
    """A recipe that does not exist, or that cannot be trained as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """Images of one's own: which folder, and how its held-out images are told from the others.

    Attributes:
        name: The folder's own name; where it lies is said elsewhere.
        test_share: Of each class to hold out, in (0, 1); None where the folder has ``train`` and ``test`` itself.
        split_seed: Decides which images; None likewise.
    """

    name: str
    test_share: float | None = None
    split_seed: int | None = None

    def __post_init__(self) -> None:
        if self.name in {"", ".", ".."} or PurePath(self.name).name != self.name:
            raise RecipeError(f"folder {self.name!r} has no name of its own, but one was expected; give another DIR")
        if (self.test_share is None) != (self.split_seed is None):
            raise RecipeError(f"folder {self.name} has a test share without a split seed, or one without a share")
        if self.test_share is not None and not 0 < self.test_share < 1:
            raise RecipeError(
                f"folder {self.name} has test share {self.test_share}, but a number above 0 and below 1 was expected; "
                "give one such as 0.2"
            )
        if self.split_seed is not None and not 0 <= self.split_seed < 2**63:
            raise RecipeError(
                f"folder {self.name} has split seed {self.split_seed}, but a number from 0 to 2**63 - 1 was expected"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model, its data and how it is trained. Holds no torch object, so that listing recipes is instant.

    Attributes:
        name: The id on the command line.
        title: One line for people.
        task: What the outputs mean.
        data: A name in `train.data.DATASETS`, or ``image-folder``.
        labels: Human names, in the order of the class indices; of the targets, for a regression.
        factory: ``package.module:callable`` that builds the network: what the input module gives in, logits (binary:
            one per row) or predictions out.
        factory_args: Keyword arguments of the factory.
        parameters: How many trainable numbers the network has.
        preprocessing: How an image becomes the array the graph takes; None for a table.
        features: Columns of the table; empty for images.
        mean: Subtracted: per channel, of pixel / 255, or per feature (the value that stands for a missing one, too).
        std: Divided by: per channel or per feature.
        augmentation: A name in `train.augment.AUGMENTATIONS`, applied to training batches only, or None.
        loss: What is minimised, as a mean over rows; ``half-mse`` is half the squared error.
        initialisation: A name in `train.initialise.INITIALISATIONS`.
        weight_decay: L2 penalty's factor; on weights, never on biases.
        optimizer: Update rule.
        momentum: Of sgd, in [0, 1).
        learning_rate: Its step size.
        schedule: A name in `train.schedule.SCHEDULES`: how the learning rate changes from epoch to epoch.
        class_weights: Whether each class weighs the same in the loss that is minimised and chosen by, however many rows
            it has.
        validation: Share of the training split that is set aside to choose by; 0 for none.
        patience: Epochs without a better validation loss after which training stops, and the best epoch is kept; None
            for training all epochs and keeping the last.
        batch_size: Rows per step; None for all at once.
        epochs: Passes over the training split.
        seed: Set right before the network is built.
        seed_order: Whether the order of the rows starts from the seed too, or from where building the network left off.
        threads: CPU threads that pay off for so small a network, or None for torch's own choice.
        notes_accuracy: Test accuracy that the source notes print, fraction in [0, 1], or None.
        notes_loss: Test loss that the source notes print, or None.
        notes: Where in the source notes the recipe comes from, or why it exists.
        folder: The images of one's own that it is for; of a recipe of this project None.
    """

    name: str
    title: str
    task: Task
    data: str
    labels: tuple[str, ...]
    factory: str
    factory_args: dict[str, int | float | str | bool]
    parameters: int
    preprocessing: ImagePreprocessing | None = None
    features: tuple[Feature, ...] = ()
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: str | None = None
    loss: Loss = "cross-entropy"
    initialisation: str = "default"
    weight_decay: float = 0.0
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.0
    learning_rate: float = 0.1
    schedule: ScheduleName = "constant"
    class_weights: ClassWeights = "none"
    validation: float = 0.0
    patience: int | None = None
    batch_size: int | None = 32
    epochs: int = 3
    seed: int = 42
    seed_order: bool = True
    threads: int | None = None
    notes_accuracy: float | None = None
    notes_loss: float | None = None
    notes: str = ""
    folder: ImageFolder | None = None

    def __post_init__(self) -> None:
        if (self.preprocessing is None) != bool(self.features):
            raise RecipeError(
                f"recipe {self.name} must have either preprocessing, for images, or features, for a table"
            )
        tasks = {"cross-entropy": "classification", "binary-cross-entropy": "binary-classification"}
        if tasks.get(self.loss, "regression") != self.task:
            raise RecipeError(f"recipe {self.name} has loss {self.loss}, which does not fit task {self.task}")
        for field, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("threads", 1), ("patience", 1)):
            value = getattr(self, field)
            if value is not None and value < least:
                raise RecipeError(
                    f"recipe {self.name} has {field} {value}, but at least {least} was expected; give a larger one"
                )
        for field in ("seed", "batch_size"):
            if (getattr(self, field) or 0) >= 2**63:
                raise RecipeError(
                    f"recipe {self.name} has {field} {getattr(self, field)}, but it must be below 2**63; "
                    "give a smaller one"
                )
        if self.threads is not None and self.threads > MOST_THREADS:
            raise RecipeError(
                f"recipe {self.name} has threads {self.threads}, but at most {MOST_THREADS} were expected; "
                "give as many as there are CPU cores"
            )
        if not 0 < self.learning_rate < math.inf:
            raise RecipeError(
                f"recipe {self.name} has learning_rate {self.learning_rate}, but a finite number above 0 was expected; "
                "give one such as 0.01"
            )
        self._check_choosing()

    def _check_choosing(self) -> None:
        """Check the settings that go together: what is chosen by, and how the loss is weighed."""
        if not 0 <= self.validation < 1:
            raise RecipeError(
                f"recipe {self.name} has validation {self.validation}, but a share of the training split from 0 to "
                "below 1 was expected; give one such as 0.1"
            )
        if not self.validation and self.patience is not None:
            raise RecipeError(
                f"recipe {self.name} has patience {self.patience} but no validation split, and the test split is not "
                "used to choose; give --validation 0.1"
            )
        if not self.validation and self.schedule == "plateau":
            raise RecipeError(
                f"recipe {self.name} has schedule plateau but no validation split, and the test split is not used to "
                "choose; give --validation 0.1"
            )
        if self.class_weights != "none" and self.task == "regression":
            raise RecipeError(
                f"recipe {self.name} has class_weights {self.class_weights}, but a regression has no classes; leave "
                "them out"
            )
        if not 0 <= self.momentum < 1:
            raise RecipeError(
                f"recipe {self.name} has momentum {self.momentum}, but a number from 0 to below 1 was expected; "
                "give one such as 0.9"
            )
        if self.momentum and self.optimizer != "sgd":
            raise RecipeError(
                f"recipe {self.name} has momentum {self.momentum} with {self.optimizer}, but only sgd takes it; "
                "leave it out or choose sgd"
            )
