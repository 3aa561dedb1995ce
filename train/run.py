"""The run directory: what training writes and export reads."""

import csv
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from torch import nn

from serve.bundle import Feature, ImagePreprocessing, Task
from train.errors import RunError as RunError  # part of this module's contract
from train.recipes.recipe import ImageFolder

RECORD = "run.json"
STATE_DICT = "state_dict.pt"
METRICS = "metrics.csv"
CURVES = "curves.png"
CHECKPOINT = "checkpoint.pt"
MODELS = "train.models"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """Which data a run saw.

    Attributes:
        name: A name in `train.data.DATASETS`, or that of the user's own folder.
        root: The data root it was read from, as given.
        sha256: Digest over the images and labels of both splits, before any validation rows are set aside.
        train_rows: Rows that were trained on.
        test_rows: Rows of the test split.
        validation_rows: Rows of the training split that were set aside to choose by.
        class_counts: Rows of each class, in the order of the labels, of "train", "test" and, where there is one,
            "validation"; None for a regression, and for runs of before it was recorded.
    """

    name: str
    root: str
    sha256: str
    train_rows: int
    test_rows: int
    validation_rows: int = 0
    class_counts: dict[str, tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`run.json`: all that is needed to build the network again and to say how it came about.

    The settings are those of `train.recipes.recipe.Recipe`; what stands below ``threads`` came later and has a default,
    so that older runs can still be read (``seed_order`` None: not recorded). A run that was trained with patience holds
    the weights and metrics of ``best_epoch``, any other those of its last epoch.
    """

    recipe: str | None
    task: Task
    labels: tuple[str, ...]
    factory: str
    factory_args: dict[str, int | float | str | bool]
    preprocessing: ImagePreprocessing | None
    features: tuple[Feature, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: str | None
    loss: str
    initialisation: str
    weight_decay: float
    optimizer: str
    learning_rate: float
    batch_size: int | None
    epochs: int
    epochs_done: int
    seed: int
    data: DataRecord
    device: str
    device_reason: str
    parameters: int
    duration_s: float
    metrics: dict[str, float]
    versions: dict[str, str]
    source_revision: str | None
    finished: bool
    threads: int | None = None
    seed_order: bool | None = None
    momentum: float = 0.0
    schedule: str = "constant"
    class_weights: str = "none"
    validation: float = 0.0
    patience: int | None = None
    best_epoch: int | None = None
    folder: ImageFolder | None = None

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights and metrics the run holds."""
        return self.best_epoch or self.epochs_done

    @property
    def stopped_early(self) -> bool:
        """Whether patience ended the training before the planned epochs were done."""
        return self.finished and self.epochs_done < self.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """One line of `metrics.csv`; means over rows. Accuracies are fractions in [0, 1], None for a regression.

    The training figures are of each batch before its step, those of the test and validation splits of the network
    after the epoch. Losses are unweighted, also where the loss that is minimised is not; for early stopping and the
    plateau schedule, ``validation_weighted_loss`` is that of the validation split weighted as in training. Of the last
    four, None: no validation split, no class weights, or written before it was recorded.
    """

    epoch: int
    train_loss: float
    train_top1_accuracy: float | None
    test_loss: float
    test_top1_accuracy: float | None
    duration_s: float
    validation_loss: float | None = None
    validation_top1_accuracy: float | None = None
    learning_rate: float | None = None
    validation_weighted_loss: float | None = None

    @property
    def choosing_loss(self) -> float | None:
        """The loss to choose by: of the validation split, weighted where training is; None without such a split."""
        return self.validation_loss if self.validation_weighted_loss is None else self.validation_weighted_loss


def read_run(path: Path) -> Run:
    """Read a run's record.

    Raises:
        RunError: there is no run at the path, or its record is malformed.
    """
    record = path / RECORD
    if not path.exists():
        raise RunError(
            f"{path} does not exist, but a run directory was expected; make one with `python -m train run RECIPE`"
        )
    if not record.is_file():
        raise RunError(f"{path} has no {RECORD}, so it is no run; make one with `python -m train run RECIPE`")
    try:
        return msgspec.json.decode(record.read_bytes(), type=Run)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise RunError(f"{record} is not valid: {error}; train again") from error


def read_metrics(path: Path) -> list[EpochMetrics]:
    """Read a run's `metrics.csv`, one record per epoch.

    Raises:
        RunError: there is no run at the path, or its metrics are missing, malformed or not those of its record.
    """
    run = read_run(path)
    file = path / METRICS
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            history = [
                msgspec.convert({str(key): value or None for key, value in row.items()}, EpochMetrics, strict=False)
                for row in csv.DictReader(lines)
            ]
    except FileNotFoundError:
        raise RunError(f"{file} is missing, but every run has one; train again") from None
    except (msgspec.ValidationError, UnicodeDecodeError, csv.Error, OSError) as error:
        raise RunError(f"{file} is not valid: {error}; train again") from error
    if not history:
        raise RunError(f"{file} holds no epoch, but at least one was expected; train again")
    _check_history(file, run, history)
    return history


def _check_history(file: Path, run: Run, history: Sequence[EpochMetrics]) -> None:
    if len(history) != run.epochs_done or not 1 <= run.kept_epoch <= run.epochs_done:
        raise RunError(
            f"{file} holds {len(history)} epochs, but {RECORD} records {run.epochs_done} and keeps epoch "
            f"{run.kept_epoch}; train again"
        )
    for place, metrics in enumerate(history, start=1):
        figures = [value for value in asdict(metrics).values() if value is not None]
        if metrics.epoch != place or not all(map(math.isfinite, figures)):
            raise RunError(
                f"{file} is not valid: line {place + 1} is not epoch {place} with finite figures; train again"
            )


def kept_metrics(run: Run, history: Sequence[EpochMetrics]) -> EpochMetrics:
    """Return the metrics of the epoch whose weights a run holds."""
    return history[run.kept_epoch - 1]


def build_network(factory: str, factory_args: dict[str, Any]) -> nn.Module:
    """Call a ``package.module:callable`` and return the network it builds.

    Only this project's own models are called: the name comes out of a file, and calling any name that a file holds
    would run whatever its author likes.

    Raises:
        RunError: the factory is no model of this project, cannot be imported, or builds something that is no module.
    """
    module_name, _, attribute = factory.partition(":")
    if not module_name.startswith(MODELS + "."):
        raise RunError(
            f"factory {factory} is not one of {MODELS}, and code named by a file is not run; use a recipe's model"
        )
    try:
        build = cast("Callable[..., object]", getattr(importlib.import_module(module_name), attribute))
    except (ImportError, AttributeError) as error:
        raise RunError(
            f"factory {factory} cannot be imported ({error}), but package.module:callable was expected"
        ) from error
    try:
        network = build(**factory_args)
    except (TypeError, RuntimeError, ValueError) as error:
        raise RunError(
            f"factory {factory} cannot be called with {factory_args} ({error}); check factory_args"
        ) from error
    if not isinstance(network, nn.Module):
        raise RunError(f"factory {factory} built a {type(network).__name__}, but a torch.nn.Module was expected")
    return network


def load_network(path: Path, run: Run) -> nn.Module:
    """Build a run's network and load its weights; in evaluation mode, on the CPU.

    Raises:
        RunError: the weights are missing or do not fit the network.
    """
    network = build_network(run.factory, run.factory_args)
    weights = path / STATE_DICT
    if not weights.is_file():
        raise RunError(f"{weights} is missing, but {RECORD} speaks of it; train again")
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for a damaged file, with advice on code
        raise RunError(f"{weights} is damaged: it is no file of tensors that can be read; train again") from error
    try:
        network.load_state_dict(content)
    except Exception as error:  # whatever stands there instead of tensors raises what it raises
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise RunError(f"{weights} does not fit {run.factory} ({lines[-1]}); train again") from error
    return network.eval()
