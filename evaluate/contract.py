"""Does the bundle say what its recipe says, where it has one? A swapped label is wrong however exact the numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.certificate import Check
from export.deployable import input_specs, output_specs
from serve.bundle import Manifest
from serve.golden import Golden
from serve.parity import row_parity
from train.recipes.recipe import Recipe

_OTHER_MACHINE = 2.0

NO_RECIPE = Check(
    name="recipe",
    passed=True,
    detail="no recipe to compare with: labels, preprocessing and normalisation are what the manifest says",
)


def structure_checks(manifest: Manifest, recipe: Recipe) -> tuple[Check, ...]:
    """Check task, preprocessing, normalisation and network; where these differ, there is no module to compare with."""
    provenance = manifest.provenance
    return (
        _equal("task", manifest.task, recipe.task),
        _equal("preprocessing", manifest.preprocessing, recipe.preprocessing),
        _equal("features", manifest.features, recipe.features),
        _equal("mean", provenance.mean, recipe.mean),
        _equal("std", provenance.std, recipe.std),
        _equal("network", (provenance.factory, provenance.factory_args), (recipe.factory, recipe.factory_args)),
        _equal("inputs", manifest.inputs, input_specs(recipe.preprocessing, recipe.features)),
        _equal("outputs", manifest.outputs, output_specs(recipe.task, recipe.labels)),
    )


def golden_checks(
    golden: Golden,
    *,
    eager: Mapping[str, NDArray[np.float32]],
    reference: Mapping[str, NDArray[np.float64]],
    weaker: bool = False,
) -> tuple[Check, ...]:
    """Check the golden outputs.

    Args:
        golden: Inputs and outputs that the bundle carries.
        eager: Float32 outputs of the rebuilt module on the golden inputs.
        reference: Its float64 outputs.
        weaker: Whether an operator of it has no float64, so that two such outputs may differ as float32 does.
    """
    # two float64 runs of one module differ by the order of summation only, far below what float32 can show
    close = 1e-5 if weaker else float(np.finfo(np.float32).eps) ** 1.5
    return tuple(
        _golden(name, golden, eager=eager[name], reference=reference[name], close=close) for name in golden.reference
    )


def label_check(found: tuple[str, ...], expected: tuple[str, ...]) -> Check:
    """Check that the labels are the recipe's, in its order."""
    if found == expected:
        return Check(name="labels", passed=True, detail=f"{len(found)} labels, in the recipe's order")
    if len(found) != len(expected):
        detail = f"the manifest has {len(found)} labels, but the recipe has {len(expected)}"
    else:
        index = next(i for i, (have, want) in enumerate(zip(found, expected, strict=True)) if have != want)
        detail = f"label {index} is {found[index]!r}, but the recipe says {expected[index]!r}; export the run again"
    return Check(name="labels", passed=False, detail=detail)


def _equal(name: str, found: Any, expected: Any) -> Check:  # noqa: ANN401 - compares whatever both sides hold
    if found == expected:
        return Check(name=name, passed=True, detail="as in the recipe")
    return Check(name=name, passed=False, detail=f"is {found}, but the recipe says {expected}; export the run again")


def _golden(
    output: str, golden: Golden, *, eager: NDArray[np.float32], reference: NDArray[np.float64], close: float
) -> Check:
    """Check that the golden outputs are those of this module, so that a server does not start by the wrong ones."""
    name = f"golden {output}"
    # of a real sample that PyTorch itself has no finite outputs for, it is enough that the bundle has none either
    broken, found = (
        ~(np.isfinite(one) & np.isfinite(other)).reshape(golden.rows, -1).all(axis=1)
        for one, other in ((eager, reference), (golden.eager[output], golden.reference[output]))
    )
    rows = ~broken if (broken == found).all() and not broken.all() else np.ones_like(broken)
    eager, reference = eager[rows], reference[rows]
    stored = row_parity(golden.eager[output][rows], eager=eager, reference=reference)
    # another number of threads sums in another order: of many, the error is a third of what it is with one
    stored = stored if eager.dtype.kind in "iu" else stored.widened(_OTHER_MACHINE)
    drift = float(np.abs(golden.reference[output][rows].astype(np.float64) - reference).max())
    if stored.passed and drift <= close * max(1.0, float(np.abs(reference).max())):
        return Check(name=name, passed=True, detail=f"{golden.rows} rows reproduced by eager PyTorch")
    off = f"by {drift:.3g} in float64" if stored.passed else f"in float32: {stored.sentence}"
    return Check(name=name, passed=False, detail=f"differ from what state_dict.pt gives {off}; export the run again")
