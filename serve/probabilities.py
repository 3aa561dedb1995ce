"""From a classifier's outputs to one probability per label."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.answer import RequestError


def class_probabilities(outputs: Mapping[str, NDArray[Any]], labels: tuple[str, ...]) -> NDArray[np.float32]:
    """Return one row of probabilities per image.

    Args:
        outputs: A classifier's outputs with ``probabilities``: ``(batch, classes)``, or ``(batch, 1)``, which is the
            probability of the second of two labels.
        labels: The bundle's labels.

    Returns:
        ``(batch, classes)``, float32.

    Raises:
        RequestError: the outputs hold no such probabilities.
    """
    found = outputs.get("probabilities")
    columns = found.shape[-1] if found is not None and found.ndim == 2 else 0
    if found is None or not (columns == len(labels) >= 2 or (columns == 1 and len(labels) == 2)):
        raise RequestError(
            f"the model gives no probabilities for its {len(labels)} labels, but a classifier's were expected; "
            "send tensors to its /infer instead"
        )
    if columns == 1:
        found = np.concatenate([1 - found, found], axis=1)
    return found.astype(np.float32, copy=False)
