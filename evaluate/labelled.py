"""Samples whose truth is known: what the user names, what a recipe or folder held out, what the bundle carries."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.inputs import Arrays, take
from evaluate.source import check_dataset, folder_of, golden_of, recipe_of
from export.errors import ExportError
from export.folder_record import recorded_folder
from export.own_inputs import OwnInputs
from export.samples import read_samples
from serve.bundle import Bundle, BundleError, Manifest
from train.data import DATASETS, load_dataset


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Samples and their truth.

    Attributes:
        inputs: Arrays by input name, ``(rows, …)``.
        truth: True class indices, ``(rows,)``, or values of a regression, ``(rows, targets)``.
        source: How many, and where they are from, for people.
        notes_accuracy: Accuracy that the source notes print for them, in [0, 1]; None where there is none.
        originals: Reads what the images were prepared from: for each row a file, or an array ``(height, width,
            channels)``. None where there are no images, or only as they were prepared.
        carried: Whether they are the few that the bundle carries.
    """

    inputs: Arrays
    truth: NDArray[Any]
    source: str
    notes_accuracy: float | None = None
    originals: Callable[[], tuple[Path, ...] | NDArray[np.uint8]] | None = None
    carried: bool = False


def labelled_samples(bundle: Bundle, *, data_root: Path, samples: Path | None = None) -> Labelled:
    """Return what accuracy is measured on: what the user names, else all held-out data there is, else what is carried.

    Raises:
        DataError: the data of its recipe is not there.
        BundleError: its recipe is unknown, it was trained on other data, or nothing says what is true.
        ExportError: the samples that the user names cannot be read, or are not what the network takes.
    """
    manifest = bundle.manifest
    if samples is not None:
        return _named(samples, manifest)
    recipe = recipe_of(bundle)
    if recipe is not None:
        dataset = load_dataset(recipe, data_root, download=False)
        check_dataset(bundle, dataset, data_root)
        return Labelled(
            inputs={manifest.inputs[0].name: dataset.test.inputs},
            truth=dataset.test.targets,
            source=f"{len(dataset.test)} test samples of {recipe.data}",
            notes_accuracy=recipe.notes_accuracy,
            originals=None
            if recipe.preprocessing is None or recipe.folder is not None
            else lambda: DATASETS[recipe.data](data_root, False).test.inputs,
        )
    folder = folder_of(bundle, data_root)
    if folder is not None:
        return Labelled(
            inputs={manifest.inputs[0].name: folder.test.inputs},
            truth=folder.test.targets,
            source=f"{len(folder.test)} test samples of folder {folder.name}",
        )
    return carried_samples(bundle)


def carried_samples(bundle: Bundle) -> Labelled:
    """Return the labelled samples that a bundle carries, for want of the data that it was tested on.

    Raises:
        BundleError: it carries none.
    """
    provenance = bundle.manifest.provenance
    why = "it has no recipe" if provenance.recipe is None else f"{provenance.dataset} is not here"
    if recorded_folder(bundle.manifest) is not None:
        why = f"folder {bundle.manifest.provenance.dataset} as it was trained on is not here"
    golden = golden_of(bundle)
    known = (golden.kind == "held-out") & (golden.class_index >= 0)
    if "classification" not in bundle.manifest.task or not known.any():
        lacks = "has no recipe" if provenance.recipe is None else f"was trained on {provenance.dataset}, not here,"
        raise BundleError(
            f"{bundle.path} {lacks} and carries no labelled samples, so there is nothing to measure accuracy on; "
            "give --samples whose classes or values are known"
        )
    return Labelled(
        inputs=take(golden.inputs, known),
        truth=golden.class_index[known],
        source=f"the bundle's own {int(known.sum())} labelled samples, because {why}",
        carried=True,
    )


def _named(path: Path, manifest: Manifest) -> Labelled:
    inputs = OwnInputs(specs=manifest.inputs, preprocessing=manifest.preprocessing, features=manifest.features)
    if manifest.task == "tensors":
        raise ExportError(
            f"--samples is given, but {manifest.name} returns tensors, of which nobody says what is right; export it "
            "with --labels or --targets"
        )
    if manifest.task == "regression":
        found = read_samples(path, inputs, (), targets=manifest.labels, most=None)
        return Labelled(inputs=found.inputs, truth=found.values, source=f"{len(found.values)} samples of {found.name}")
    found = read_samples(path, inputs, manifest.labels, most=None)
    known = found.class_index >= 0
    if not known.any():
        raise ExportError(
            f"--samples {path} says no true class, but accuracy is measured against those; name sub-folders like the "
            "labels, or give a column or array label"
        )
    more = f", {int((~known).sum())} others without a class left out" if not known.all() else ""
    files = tuple(file for file, is_known in zip(found.files, known, strict=False) if is_known)
    return Labelled(
        inputs=take(found.inputs, known),
        truth=found.class_index[known],
        source=f"{int(known.sum())} labelled samples of {found.name}{more}",
        originals=(lambda: files) if files else None,
    )
