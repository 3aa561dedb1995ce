"""Few words for many names: those beyond the bound are counted."""

import pytest

from train.wording import some_names


@pytest.mark.parametrize(
    ("count", "most", "words"),
    [
        pytest.param(0, 2, "", id="none"),
        pytest.param(2, 2, "n0, n1", id="all"),
        pytest.param(3, 2, "n0, n1 and 1 more", id="one more"),
        pytest.param(1234, 1, "n0 and 1,233 more", id="many more"),
    ],
)
def test_some_names(count: int, most: int, words: str) -> None:
    assert some_names([f"n{index}" for index in range(count)], most=most) == words
