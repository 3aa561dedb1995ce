"""Too simple, right, and too flexible: polynomials of three degrees on few and on many rows."""

from pathlib import Path
from statistics import median

import numpy as np

from train.studies.cubic import NOISE, fit_polynomial, make_cubic, squared_error
from train.studies.result import Cell, Curve, StudyResult, as_verdict

DEGREES = (1, 3, 20)
FEW, MANY, TEST = 21, 1000, 1000
LEAST_DRAWN = 1e-30  # in the place of 0, which a logarithmic axis has not


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:  # noqa: ARG001 - every study takes the same
    """Fit each degree to several sizes of training set; medians over seeds."""
    sizes, seeds = ((FEW, MANY), range(5)) if quick else ((FEW, 50, 100, 300, MANY), range(50))
    losses = {(degree, size): _losses(degree, size, seeds) for degree in DEGREES for size in sizes}
    rows: list[tuple[Cell, ...]] = [(degree, size, *pair) for (degree, size), pair in losses.items()]
    floor = NOISE**2
    underfits = losses[1, MANY][0] > 10 * floor and losses[1, MANY][1] > 10 * floor
    fits = losses[3, FEW][1] < 2 * floor
    overfits = losses[20, FEW][0] < floor / 100 and losses[20, FEW][1] > 10 * floor
    cured = losses[20, MANY][1] < 2 * floor
    return StudyResult(
        title=f"Polynomials of three degrees on a noisy cubic: median squared errors over {len(seeds)} seeds",
        claim=(
            "Too low a degree underfits, too high a one overfits and can pass through as many points as it has "
            "coefficients; more data helps against overfitting only."
        ),
        columns=("degree", "training rows", "train loss", "test loss"),
        rows=tuple(rows),
        finding=(
            f"the noise alone costs {floor:g}; degree 1 stays at {losses[1, MANY][1]:.2g} with {MANY} rows, degree 3 "
            f"is at {losses[3, FEW][1]:.2g} with {FEW}; degree 20 has {losses[20, FEW][0]:.1g} on its own {FEW} rows "
            f"and {losses[20, FEW][1]:.2g} on others, with {MANY} rows {losses[20, MANY][1]:.2g}."
        ),
        verdict=as_verdict(underfits, fits, overfits, cured),
        curves=tuple(
            Curve(
                label=f"degree {degree}, {label}",
                x=sizes,
                y=tuple(losses[degree, size][split] or LEAST_DRAWN for size in sizes),
                dashed=label == "train",
            )
            for degree in DEGREES
            for split, label in enumerate(("train", "test"))
        ),
        axes=("training rows", "mean squared error"),
        log_scale=(True, True),
    )


def _losses(degree: int, size: int, seeds: range) -> tuple[float, float]:
    pairs = []
    for seed in seeds:
        generator = np.random.default_rng(seed)
        x, y = make_cubic(size, generator)
        coefficients = fit_polynomial(x, y, degree)
        pairs.append((squared_error(coefficients, x, y), squared_error(coefficients, *make_cubic(TEST, generator))))
    return median(train for train, _ in pairs), median(test for _, test in pairs)
