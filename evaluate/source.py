"""Where the samples come from that a bundle is judged on: its recipe's test split, what it carries, or the user."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.inputs import Arrays, count, take
from export.errors import ExportError
from export.folder_record import recorded_folder
from export.own_inputs import OwnInputs
from export.samples import read_samples
from serve.bundle import MANIFEST, Bundle, BundleError, Manifest
from serve.golden import Golden, check_fits, read_golden
from train.data import load_dataset
from train.dataset import DataError, Dataset, MissingDataError
from train.image_folder import find_folder, read_image_folder
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import find_recipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Samples the model was not trained on.

    Attributes:
        inputs: Arrays by input name, ``(rows, …)``.
        targets: True class or value of each row, -1 where a class is not known; None where nothing is known.
        source: Where they are from, for people.
        real: Whether they are real samples, and not noise.
        sha256: Digest of samples that the user gave, of all of them; else None.
    """

    inputs: Arrays
    targets: NDArray[Any] | None
    source: str
    real: bool = True
    sha256: str | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return count(self.inputs) if self.inputs else 0


def golden_of(bundle: Bundle) -> Golden:
    """Read a bundle's golden inputs, as a server does before it runs them.

    Raises:
        BundleError: it has none, or they are not what the manifest lists.
    """
    entry = bundle.entry("golden")
    if entry is None:
        raise BundleError(f"{bundle.path} holds no golden inputs; export the run again")
    golden = read_golden(bundle.read(entry))
    check_fits(golden, bundle.manifest)
    return golden


def recipe_of(bundle: Bundle) -> Recipe | None:
    """Return the recipe that a bundle's model was trained by, or None where it names none.

    Raises:
        BundleError: this version has no recipe of that name.
    """
    name = bundle.manifest.provenance.recipe
    try:
        return None if name is None else find_recipe(name)
    except RecipeError as error:
        raise BundleError(
            f"{bundle.path / MANIFEST} names the recipe {name!r}, but none of `python -m train list` is called "
            "that, so there is nothing to judge the bundle by; export it again, with the version that judges it"
        ) from error


def dataset_of(bundle: Bundle, data_root: Path) -> Dataset | None:
    """Return the data that a bundle's model was trained and tested on, or None where it has none or it is not here.

    A folder of the user's own images may have changed since, which is nobody's fault: then it is not here.

    Raises:
        BundleError: its recipe is unknown, its data is there but is other data, or labels are not in a folder's order.
    """
    recipe = recipe_of(bundle)
    if recipe is None:
        return folder_of(bundle, data_root)
    try:
        dataset = load_dataset(recipe, data_root, download=False)
    except MissingDataError:
        return None
    check_dataset(bundle, dataset, data_root)
    return dataset


def folder_of(bundle: Bundle, data_root: Path) -> Dataset | None:
    """Return the folder of images that a bundle's model was trained on, byte for byte, or None where it is not here.

    It is looked for below the data root, and in the working directory.

    Raises:
        BundleError: the labels are not in the order of the class folders.
    """
    manifest = bundle.manifest
    folder = recorded_folder(manifest)
    if folder is None or manifest.preprocessing is None:
        return None
    if list(manifest.labels) != sorted(manifest.labels):
        raise BundleError(
            f"{bundle.path} has the labels {', '.join(manifest.labels)}, but it was trained on a folder, whose classes "
            "go by alphabet; export the run again"
        )
    for root in (data_root, Path()):
        try:
            dataset = read_image_folder(
                find_folder(folder.name, root),
                folder=folder,
                labels=manifest.labels,
                preprocessing=manifest.preprocessing,
            )
        except DataError:
            continue
        if dataset.sha256 == manifest.provenance.dataset_sha256:
            return dataset
    return None


def all_held_out(bundle: Bundle, golden: Golden, dataset: Dataset | None) -> HeldOut:
    """Return the whole test split, or the few samples that the bundle carries where there is none."""
    provenance = bundle.manifest.provenance
    if dataset is not None:
        rows = dataset.test.inputs
        return HeldOut(
            inputs={bundle.manifest.inputs[0].name: rows},
            targets=dataset.test.targets,
            source=f"{len(rows)} test samples of {provenance.dataset}",
        )
    why = f"because {provenance.dataset} is not here" if provenance.recipe else "because it has no recipe"
    if recorded_folder(bundle.manifest) is not None:
        why = f"because folder {provenance.dataset} as it was trained on is not here"
    held_out = golden.kind == "held-out"
    if held_out.any():
        return HeldOut(
            inputs=take(golden.inputs, held_out),
            targets=golden.class_index[held_out],
            source=f"the bundle's own {int(held_out.sum())}, {why}",
        )
    random = golden.kind == "random"
    inputs = take(golden.inputs, random) if random.any() else golden.inputs
    source = f"none; noise in their place, {why} and carries no samples"
    return HeldOut(inputs=inputs, targets=None, source=source, real=False)


def held_out_of(path: Path, manifest: Manifest) -> HeldOut:
    """Read samples of the user's own, in place of those that a recipe held out or the bundle carries.

    Raises:
        ExportError: there are none, or they are not what the network takes.
    """
    inputs = OwnInputs(specs=manifest.inputs, preprocessing=manifest.preprocessing, features=manifest.features)
    decides = "classification" in manifest.task
    try:
        found = read_samples(path, inputs, manifest.labels if decides else (), most=None)
    except ExportError as error:  # who exports gives them as --samples, which here is how many
        raise ExportError(str(error).replace("--samples", "--data", 1)) from error
    rows = count(found.inputs)
    return HeldOut(
        inputs=found.inputs,
        targets=found.class_index if decides else None,
        source=f"{rows} samples of {found.name}, sha256 {found.sha256[:16]}",
        sha256=found.sha256,
    )


def some_of(held_out: HeldOut, *, samples: int, seed: int) -> HeldOut:
    """Choose held-out samples, where there are more than enough."""
    rows = held_out.rows
    if rows <= samples:
        return held_out
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:samples])
    return HeldOut(
        inputs=take(held_out.inputs, chosen),
        targets=None if held_out.targets is None else held_out.targets[chosen],
        source=f"{samples} of {held_out.source}",
        real=held_out.real,
        sha256=held_out.sha256,
    )


def check_dataset(bundle: Bundle, dataset: Dataset, data_root: Path) -> None:
    """Check that data is what a bundle's model was trained on.

    Raises:
        BundleError: it is not.
    """
    provenance = bundle.manifest.provenance
    if dataset.sha256 != provenance.dataset_sha256:
        raise BundleError(
            f"{provenance.dataset} under {data_root} has sha256 {dataset.sha256[:12]}…, but {bundle.path} was "
            f"trained on {provenance.dataset_sha256[:12]}…; give the --data-root it was trained from"
        )
