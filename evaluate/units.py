"""What errors of several outputs are counted in, so that they can be compared with one another."""

import numpy as np
from numpy.typing import NDArray

from evaluate.truth import Truth
from serve.parity import MAX_FACTOR, numeric_parity


def error_units(samples: Truth) -> dict[str, NDArray[np.float64]]:
    """Return the unit of each output: eager's own greatest error on the samples, of each target of a regression apart.

    Args:
        samples: The truth of the samples.

    Returns:
        By output, ``(1,)`` or ``(targets,)``; without probabilities where there are logits, of which they are made.
    """
    units = {}
    for name, reference in samples.reference.items():
        if name == "probabilities" and "logits" in samples.reference:
            continue
        eager = samples.eager[name]
        columns = range(reference.shape[1]) if name == "prediction" else None
        parts = [(eager, reference)] if columns is None else [(eager[:, [c]], reference[:, [c]]) for c in columns]
        bounds = [numeric_parity(own, eager=own, reference=expected).max_bound for own, expected in parts]
        units[name] = np.asarray(bounds) / MAX_FACTOR
    return units
