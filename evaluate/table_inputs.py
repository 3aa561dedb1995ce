"""The inputs that graphs of tables are judged on: real rows, scaled ones, random ones, and rows on the boundary."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.inputs import (
    SCALES,
    Arrays,
    InputSet,
    Predict,
    again,
    among,
    on_boundary,
    require_rows,
    samples,
    whole,
)
from evaluate.plan import FULL, Plan
from serve.bundle import Feature

_BISECTIONS = 24
_MISSING_SHARE = 0.25
_HALF = 0.5
_HOSTILE_SCALE = 50.0


def table_input_sets(
    held_out: Arrays, features: tuple[Feature, ...], *, predict: Predict | None, seed: int, plan: Plan = FULL
) -> list[InputSet]:
    """Build all input sets of a tabular bundle.

    Args:
        held_out: Real rows that the model was not trained on, ``(rows, features)``, float32, at least one.
        features: The columns; categories are not scaled, and optional values go missing.
        predict: Class of each row by the reference, or None where nothing is decided and there is no boundary.
        seed: Decides the noise and the pairs.
        plan: How many rows, at which batch sizes.

    Returns:
        The sets; the one of the real rows comes first.

    Raises:
        ValueError: there are no rows.
    """
    require_rows(held_out)
    rng = np.random.default_rng(seed)
    ((name, real),) = held_out.items()
    table = _fill(real, rng, plan.rows)
    numbers = np.asarray([not feature.categories for feature in features])
    few, company = (np.resize(table, (rows, len(features))) for rows in (plan.rows, plan.again))
    spread = np.nan_to_num(table)
    noise = rng.uniform(spread.min(axis=0), spread.max(axis=0), size=few.shape).astype(np.float32)
    for column, feature in enumerate(features):
        if feature.categories:
            noise[:, column] = rng.integers(0, len(feature.categories), size=len(noise))
        if feature.optional:
            noise[rng.random(len(noise)) < _MISSING_SHARE, column] = np.nan
    sets = [
        samples(held_out, {name: table}, plan),
        whole("random rows", "noise", {name: noise}),
        *(whole(f"{plan.subject} x {scale:g}", "scaled", {name: _scaled(few, numbers, scale)}) for scale in SCALES),
    ]
    if predict is not None and numbers.all() and plan.boundary:
        known = {name: np.nan_to_num(few)}
        sets += on_boundary(known, blend_rows, steps=_BISECTIONS, predict=predict, rng=rng, plan=plan)
    sets += again({name: table}, plan)
    before, after = ({name: _scaled(company, numbers, scale)} for scale in (_HOSTILE_SCALE, -_HOSTILE_SCALE))
    return [*sets, among({name: company}, before, after)]


def blend_rows(first: Arrays, second: Arrays, share: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return rows on the lines between others."""
    return {
        name: np.asarray(values + (second[name] - values) * share[:, None], dtype=np.float32)
        for name, values in first.items()
    }


def _fill(table: NDArray[np.float32], rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    """Add mixtures of rows to a table that is small; each takes every column from one of two rows, or lies between."""
    missing = rows - len(table)
    if missing <= 0:
        return table
    first = table[rng.integers(0, len(table), size=missing)]
    second = table[rng.integers(0, len(table), size=missing)]
    share = rng.random((missing, 1)).astype(np.float32)
    between = first + (second - first) * share
    whole_numbers = (np.rint(first) == first) & (np.rint(second) == second)
    mixed = np.where(whole_numbers | np.isnan(between), np.where(share < _HALF, first, second), between)
    return np.concatenate([table, mixed.astype(np.float32)])


def _scaled(table: NDArray[np.float32], numbers: NDArray[np.bool_], scale: float) -> NDArray[np.float32]:
    return np.where(numbers, table * np.float32(scale), table).astype(np.float32)
