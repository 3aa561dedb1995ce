"""What is put down about a training run: settings, data, device, versions and figures."""

import importlib.metadata
import platform
from dataclasses import replace
from pathlib import Path

import torch

from train.balance import count_classes
from train.data import majority_share
from train.dataset import Dataset, Split
from train.device import DeviceChoice
from train.early_stopping import best_epoch
from train.recipes.recipe import Recipe
from train.revision import source_revision
from train.run import DataRecord, EpochMetrics, Run, kept_metrics

LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow")


def record_run(
    recipe: Recipe,
    dataset: Dataset,
    validation: Split | None,
    history: list[EpochMetrics],
    *,
    data_root: Path,
    choice: DeviceChoice,
    parameters: int,
    duration_s: float,
    finished: bool,
) -> Run:
    """Return the record of a training run as it stands.

    Args:
        recipe: What was trained.
        dataset: What it was trained on, validation rows already set aside.
        validation: Those rows.
        history: The whole epochs, at least one.
        data_root: Where the data was read from.
        choice: The device, and why it.
        parameters: Numbers of the network.
        duration_s: Of all epochs and what went before them.
        finished: Whether nothing stopped it.
    """
    run = Run(
        recipe=recipe.name,
        task=recipe.task,
        labels=recipe.labels,
        factory=recipe.factory,
        factory_args=recipe.factory_args,
        preprocessing=recipe.preprocessing,
        features=recipe.features,
        mean=recipe.mean,
        std=recipe.std,
        augmentation=recipe.augmentation,
        loss=recipe.loss,
        initialisation=recipe.initialisation,
        weight_decay=recipe.weight_decay,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        epochs_done=len(history),
        seed=recipe.seed,
        data=DataRecord(
            name=dataset.name,
            root=str(data_root),
            sha256=dataset.sha256,
            train_rows=len(dataset.train),
            test_rows=len(dataset.test),
            validation_rows=0 if validation is None else len(validation),
            class_counts=_class_counts(recipe, dataset, validation),
        ),
        device=str(choice.device),
        device_reason=choice.reason,
        parameters=parameters,
        duration_s=duration_s,
        metrics={},
        versions={"python": platform.python_version()}
        | {library: importlib.metadata.version(library) for library in LIBRARIES},
        source_revision=source_revision(),
        finished=finished,
        threads=torch.get_num_threads(),
        seed_order=recipe.seed_order,
        momentum=recipe.momentum,
        schedule=recipe.schedule,
        class_weights=recipe.class_weights,
        validation=recipe.validation,
        patience=recipe.patience,
        best_epoch=None if recipe.patience is None else best_epoch(history),
        folder=recipe.folder,
    )
    return replace(run, metrics=_metrics(kept_metrics(run, history), dataset))


def _class_counts(recipe: Recipe, dataset: Dataset, validation: Split | None) -> dict[str, tuple[int, ...]] | None:
    if recipe.task == "regression":
        return None
    splits = {"train": dataset.train, "test": dataset.test} | ({"validation": validation} if validation else {})
    return {name: count_classes(split, len(recipe.labels)) for name, split in splits.items()}


def _metrics(epoch: EpochMetrics, dataset: Dataset) -> dict[str, float]:
    figures = {"test_top1_accuracy": epoch.test_top1_accuracy, "train_top1_accuracy": epoch.train_top1_accuracy}
    if epoch.test_top1_accuracy is not None:
        figures["chance_top1_accuracy"] = majority_share(dataset.test)
    figures |= {"test_loss": epoch.test_loss, "train_loss": epoch.train_loss}
    figures |= {
        "validation_loss": epoch.validation_loss,
        "validation_top1_accuracy": epoch.validation_top1_accuracy,
        "validation_weighted_loss": epoch.validation_weighted_loss,
    }
    return {name: value for name, value in figures.items() if value is not None}
