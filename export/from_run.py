"""From a training run to everything that its bundle is made of."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import torch

from export.deployable import input_specs, output_specs, wrap
from export.draft import Draft
from export.errors import ExportError
from export.folder_record import record_folder
from export.golden_inputs import calibration_rows, golden_features, golden_images, rows_for
from export.work import flops_per_row
from serve.bundle import NAME, Provenance
from train.data import load_dataset
from train.recipe_of_run import data_root_of, recipe_of_run
from train.run import build_network, load_network, read_run


def draft_of_run(run_path: Path, *, data_root: Path | None = None, name: str | None = None) -> Draft:
    """Read a run and its held-out data.

    Args:
        run_path: The run's directory.
        data_root: Where the data is; by default where the run read it.
        name: What the model is called when it is served; by default the recipe's name.

    Raises:
        RunError: the run is missing or malformed.
        DataError: its data cannot be read.
        ExportError: the data is not what the run was trained on.
    """
    if name is not None and not re.fullmatch(NAME, name):
        raise ExportError(f"--name is {name!r}, but only letters, digits, '.', '_' and '-' may stand in it")
    run = read_run(run_path)
    network = load_network(run_path, run)
    recipe = recipe_of_run(run)
    if recipe is None:
        raise ExportError(
            f"{run_path} was trained from recipe {run.recipe}, which this version does not have; train again"
        )
    dataset = load_dataset(recipe, data_root_of(run, data_root))
    if dataset.sha256 != run.data.sha256:
        raise ExportError(
            f"{run.data.name} has sha256 {dataset.sha256[:12]}…, but the run was trained on {run.data.sha256[:12]}…; "
            "give the --data-root it was trained from, or train again"
        )
    provenance = Provenance(
        recipe=run.recipe if run.folder is None else None,
        factory=run.factory,
        factory_args=run.factory_args,
        mean=run.mean,
        std=run.std,
        seed=run.seed,
        dataset=run.data.name,
        dataset_sha256=run.data.sha256,
        device=run.device,
        versions=run.versions,
        source_revision=run.source_revision,
        training={
            "finished": run.finished,
            "epochs": run.epochs_done,
            "epochs_planned": run.epochs,
            "batch_size": run.batch_size,
            "optimizer": run.optimizer,
            "momentum": run.momentum,
            "learning_rate": run.learning_rate,
            "schedule": run.schedule,
            "class_weights": run.class_weights,
            "validation": run.validation,
            "patience": run.patience,
            "best_epoch": run.best_epoch,
            "seed_order": run.seed_order,
            "weight_decay": run.weight_decay,
            "loss": run.loss,
        }
        | ({} if run.folder is None else record_folder(run.folder)),
        metrics=run.metrics,
    )
    rows, targets = dataset.test.inputs, dataset.test.targets
    class_index = targets if run.task != "regression" else np.full(len(rows), -1, dtype=np.int64)
    module = wrap(network, task=run.task, features=run.features, mean=run.mean, std=run.std)
    counts = rows_for(flops_per_row(module, (torch.from_numpy(rows[:1].copy()),)))
    golden, golden_class_index, kind = (
        golden_features(rows, class_index, run.features, counts)
        if run.features
        else golden_images(rows, class_index, counts)
    )
    specs = input_specs(run.preprocessing, run.features)
    return Draft(
        name=name or recipe.name,
        title=recipe.title,
        task=run.task,
        labels=run.labels,
        module=module,
        weights=network.state_dict(),
        inputs=specs,
        outputs=output_specs(run.task, run.labels),
        preprocessing=run.preprocessing,
        features=run.features,
        provenance=provenance,
        golden_inputs={specs[0].name: golden},
        golden_class_index=golden_class_index,
        golden_kind=kind,
        calibration={specs[0].name: calibration_rows(dataset.train.inputs)},
        build=partial(build_network, run.factory, run.factory_args),
    )
