"""The tabular data sets of the source notes, made or written out here: nothing is downloaded."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE_WEIGHT = 0.7
LINE_BIAS = 0.3
TRAIN_SHARE = 0.8
SCIKIT_SEED = 42

LINEAR_ROWS = 1000
LINEAR_WEIGHTS = (2.0, -3.4)
LINEAR_BIAS = 4.2
NOISE_STD = 0.01
LINEAR_SEED = 42

WIDE_FEATURES = 200
WIDE_TRAIN_ROWS = 20
WIDE_TEST_ROWS = 100
WIDE_WEIGHT = 0.01
WIDE_BIAS = 0.05

# Of x ** k / k!, k from 0. Source: the figure of under- and overfitting that the notes describe without code.
POLYNOMIAL_WEIGHTS = (5.0, 1.2, -3.4, 5.6)
POLYNOMIAL_ROWS = 100
POLYNOMIAL_NOISE_STD = 0.1

Rows = tuple[NDArray[Any], NDArray[Any]]
"""Inputs ``(rows, features)`` float32 and targets, as `train.data.Split` takes them."""


def line(points: int) -> tuple[Rows, Rows]:
    """Return points of y = 0.7 x + 0.3 for x from 0 to 1; the last fifth, which lies beyond the others, is the test.

    Source: notes 003, S1 and S5.
    """
    import torch  # its float32 arithmetic is what the notes' digits come from

    inputs = torch.arange(0, 1, 1 / points).unsqueeze(1)
    targets = (LINE_WEIGHT * inputs + LINE_BIAS).numpy()
    split = int(TRAIN_SHARE * points)
    return (inputs.numpy()[:split], targets[:split]), (inputs.numpy()[split:], targets[split:])


def linear() -> tuple[Rows, Rows]:
    """Return 1,000 rows of two features and a target that is linear in them but for noise; both splits are all rows.

    Source: notes 000-002, S-LINREG-SCRATCH.
    """
    rng = np.random.default_rng(LINEAR_SEED)
    inputs = rng.standard_normal((LINEAR_ROWS, len(LINEAR_WEIGHTS)))
    rows = _with_noise(inputs, (inputs * LINEAR_WEIGHTS).sum(axis=1) + LINEAR_BIAS, NOISE_STD, rng)
    return rows, rows


def wide() -> tuple[Rows, Rows]:
    """Return 20 training rows of 200 features, so that a linear network can learn them by heart, and 100 test rows.

    Source: notes 000-002, S-WEIGHT-DECAY.
    """
    rng = np.random.default_rng(LINEAR_SEED)

    def rows(count: int) -> Rows:
        inputs = rng.standard_normal((count, WIDE_FEATURES))
        return _with_noise(inputs, WIDE_WEIGHT * inputs.sum(axis=1) + WIDE_BIAS, NOISE_STD, rng)

    return rows(WIDE_TRAIN_ROWS), rows(WIDE_TEST_ROWS)


def polynomial() -> tuple[Rows, Rows]:
    """Return 100 training and 100 test points of a cubic with noise.

    Source: notes 000-002, 1.E.
    """
    rng = np.random.default_rng(LINEAR_SEED)

    def rows() -> Rows:
        inputs = rng.standard_normal((POLYNOMIAL_ROWS, 1))
        constant, first, second, third = POLYNOMIAL_WEIGHTS
        x = inputs[:, 0]
        return _with_noise(inputs, constant + x * (first + x / 2 * (second + x / 3 * third)), POLYNOMIAL_NOISE_STD, rng)

    return rows(), rows()


def circles() -> tuple[Rows, Rows]:
    """Return two noisy circles, one in the other, 800 and 200 points.

    Source: notes 003, S3.
    """
    from sklearn.datasets import make_circles  # type: ignore[import-untyped]

    return _split(*make_circles(1000, noise=0.03, random_state=SCIKIT_SEED))


def blobs(cluster_std: float = 1.5) -> tuple[Rows, Rows]:
    """Return four clouds of points, 800 and 200; the narrower, the further apart.

    Source: notes 003, S7.
    """
    from sklearn.datasets import make_blobs

    return _split(
        *make_blobs(n_samples=1000, n_features=2, centers=4, cluster_std=cluster_std, random_state=SCIKIT_SEED)
    )


def house_prices() -> tuple[Rows, Rows]:
    """Return the four houses of the notes: rooms, the kind of alley (0 is paved, NaN is none) and the price.

    Four rows are too few to split: both splits are all of them.

    Source: notes 000-002, S-PANDAS.
    """
    missing = np.nan
    inputs = np.asarray([[missing, 0], [2, missing], [4, missing], [missing, missing]], dtype=np.float32)
    rows = inputs, np.asarray([[127_500], [106_000], [178_100], [140_000]], dtype=np.float32)
    return rows, rows


TABLES: dict[str, Callable[[], tuple[Rows, Rows]]] = {
    "line-50": lambda: line(50),
    "line-100": lambda: line(100),
    "linear": linear,
    "linear-wide": wide,
    "polynomial": polynomial,
    "circles": circles,
    "blobs": blobs,
    "blobs-narrow": lambda: blobs(cluster_std=1.0),
    "house-prices": house_prices,
}


def _with_noise(inputs: NDArray[np.float64], clean: NDArray[np.float64], std: float, rng: np.random.Generator) -> Rows:
    targets = clean + rng.normal(0, std, size=len(clean))
    return inputs.astype(np.float32), targets[:, np.newaxis].astype(np.float32)


def _split(inputs: NDArray[Any], class_index: NDArray[Any]) -> tuple[Rows, Rows]:
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

    train_inputs, test_inputs, train_classes, test_classes = train_test_split(
        inputs.astype(np.float32), class_index.astype(np.int64), test_size=1 - TRAIN_SHARE, random_state=SCIKIT_SEED
    )
    return (train_inputs, train_classes), (test_inputs, test_classes)
