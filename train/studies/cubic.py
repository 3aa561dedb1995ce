"""A noisy cubic, and polynomials fitted to it by least squares: what two studies share."""

import numpy as np
from numpy.typing import NDArray

# The notes name degrees only: any cubic whose bends are well above the noise will do.
TRUE_COEFFICIENTS = (5.0, 1.2, -3.4, 5.6)
NOISE = 0.1

Array = NDArray[np.float64]


def make_cubic(rows: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Return x from U(-1, 1) and noisy values, both ``(rows,)``."""
    x = generator.uniform(-1, 1, rows)
    return x, powers(x, 3) @ np.array(TRUE_COEFFICIENTS) + generator.normal(0, NOISE, rows)


def powers(x: Array, degree: int) -> Array:
    """Return x⁰ to x to the degree, ``(rows, degree + 1)``."""
    return np.vander(x, degree + 1, increasing=True)


def fit_polynomial(x: Array, y: Array, degree: int) -> Array:
    """Return the coefficients of least squared error, for `powers`; the shortest ones where many fit."""
    coefficients: Array = np.linalg.lstsq(powers(x, degree), y)[0].astype(np.float64)
    return coefficients


def squared_error(coefficients: Array, x: Array, y: Array) -> float:
    """Return the mean squared error of a polynomial."""
    return float(np.mean((powers(x, len(coefficients) - 1) @ coefficients - y) ** 2))
