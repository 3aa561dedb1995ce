"""The one definition of a decision: ties, the boundary, and NaN."""

import numpy as np
import pytest

from serve.decisions import decide


@pytest.mark.parametrize(
    ("values", "output", "classes"),
    [
        pytest.param([[1, 3, 2], [5, 4, 5]], "logits", [1, 0], id="the greatest, of equals the first"),
        pytest.param([[-1e-9], [0.0], [-0.0], [1e-9]], "logits", [0, 1, 1, 1], id="one logit"),
        pytest.param([[0.49], [0.5], [0.51]], "probabilities", [0, 1, 1], id="one probability"),
        pytest.param([[0.3, 0.7], [0.5, 0.5]], "probabilities", [1, 0], id="two probabilities"),
        pytest.param([[np.nan]], "logits", [0], id="NaN"),
    ],
)
def test_the_class_of_each_row(values: list[list[float]], output: str, classes: list[int]) -> None:
    chosen = decide(np.array(values), output=output)
    assert chosen.dtype == np.int64
    assert chosen.tolist() == classes
