"""What a report says of a bundle, as records; nothing is measured here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluate.accuracy.record import Accuracy
from evaluate.bench.result import Bench
from evaluate.blame.found import Blame
from evaluate.certificate import Certificate
from serve.bundle import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a sample looks like: an image, or else what stands in its columns.

    Attributes:
        row: Its place among the samples, from 1 on.
        image: ``data:`` URI; None where samples are no images.
        cells: One for each column that is shown.
    """

    row: int
    image: str | None
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A sample that was put into a class.

    Attributes:
        shown: What it looks like.
        truth: Label of its true class.
        predicted: Label of the most probable class.
        probability: Of that.
        second: Label of the next.
        second_probability: Of that.
        right: Whether the predicted class is the true one.
    """

    shown: Shown
    truth: str
    predicted: str
    probability: float
    second: str
    second_probability: float
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Valued:
    """A sample with a value predicted for each target.

    Attributes:
        shown: What it looks like.
        truth: True value of each target.
        predicted: What was predicted instead.
    """

    shown: Shown
    truth: tuple[float, ...]
    predicted: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Galleries:
    """Samples to look at; one sort of them is there, by the task.

    Attributes:
        graph: What decided.
        columns: Names of the columns that are shown.
        more_columns: How many there are beside these.
        mix: Drawn by chance.
        confident: Those that are wrong, the surest first.
        wrong: How many are wrong in all.
        nearest: Where two classes are nearest to each other, the nearest first.
        values: Of a regression, drawn by chance; none where all samples are among the furthest.
        furthest: Of a regression, the greatest errors first.
    """

    graph: str
    columns: tuple[str, ...]
    more_columns: int
    mix: tuple[Decided, ...] = ()
    confident: tuple[Decided, ...] = ()
    wrong: int = 0
    nearest: tuple[Decided, ...] = ()
    values: tuple[Valued, ...] = ()
    furthest: tuple[Valued, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampled:
    """What the graph that is shown made of every sample.

    Attributes:
        truth: True class indices ``(rows,)``, or values ``(rows, targets)``.
        right: Whether it is right, ``(rows,)``; None of a regression.
        predicted: Values ``(rows, targets)``; None of a classification.
        baseline: Share of the commonest class; None of a regression.
        carried: Whether the samples are the bundle's own.
        named: Whether they are what the user named.
        inputs_sha256: Digest of them as the graph takes them.
    """

    truth: NDArray[np.generic]
    right: NDArray[np.bool_] | None
    predicted: NDArray[np.float64] | None
    baseline: float | None
    carried: bool
    named: bool
    inputs_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """All that was found of one bundle; what is None has its reason in `left_out`.

    Attributes:
        manifest: Of the bundle.
        certificate: What parity was found.
        stored: Whether the certificate stood in the bundle already.
        accuracy: How right it is.
        sampled: What accuracy was measured on.
        galleries: Samples to look at.
        blame: The error along one graph.
        bench: Times.
        left_out: Why, by ``accuracy``, ``blame`` or ``bench``.
    """

    manifest: Manifest
    certificate: Certificate
    stored: bool
    accuracy: Accuracy | None
    sampled: Sampled | None
    galleries: Galleries | None
    blame: Blame | None
    bench: Bench | None
    left_out: dict[str, str]
