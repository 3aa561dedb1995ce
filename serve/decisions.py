"""Which class a row of outputs stands for: what parity, drift and accuracy all mean by a decision."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SECOND_FROM = {"logits": 0.0, "probabilities": 0.5}  # a single one means the second of two classes from there on


def decide(values: NDArray[Any], *, output: str = "logits") -> NDArray[np.int64]:
    """Return the class of each row, ``(batch,)``: the greatest value's, or for a single one whether it is large enough.

    Args:
        values: ``(batch, classes)``, or ``(batch, 1)`` of a binary classification. NaN is not large enough.
        output: Which they are, one of `SECOND_FROM`.
    """
    chosen = values[:, 0] >= SECOND_FROM[output] if values.shape[1] == 1 else values.argmax(axis=1)
    return np.asarray(chosen, dtype=np.int64)
