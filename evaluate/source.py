"""Where the samples come from that a bundle is judged on: its recipe's test split, or what it carries itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.bundle import Bundle, BundleError
from serve.golden import Golden, read_golden
from train.data import load_dataset
from train.dataset import Dataset, MissingDataError
from train.recipes.registry import find_recipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Real samples the model was not trained on, and where they are from."""

    rows: NDArray[Any]
    source: str


def golden_of(bundle: Bundle) -> Golden:
    """Read a bundle's golden inputs.

    Raises:
        BundleError: it has none.
    """
    entry = bundle.entry("golden")
    if entry is None:
        raise BundleError(f"{bundle.path} holds no golden inputs; export the run again")
    return read_golden(bundle.read(entry))


def held_out_rows(bundle: Bundle, golden: Golden, *, data_root: Path, samples: int, seed: int) -> HeldOut:
    """Return test samples of the recipe's data, or the few that the bundle carries where the data is not there."""
    provenance = bundle.manifest.provenance
    try:
        dataset = load_dataset(find_recipe(provenance.recipe or ""), data_root, download=False)
    except MissingDataError:
        rows = golden.inputs[bundle.manifest.inputs[0].name][golden.kind == "held-out"]
        return HeldOut(rows=rows, source=f"the bundle's own {len(rows)}, because {provenance.dataset} is not here")
    check_dataset(bundle, dataset, data_root)
    rows = dataset.test.inputs
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:samples])
    return HeldOut(rows=rows[chosen], source=f"{len(chosen)} of {len(rows)} test samples of {provenance.dataset}")


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
