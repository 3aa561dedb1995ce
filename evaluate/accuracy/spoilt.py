"""What is reported of a graph on spoilt images."""

from dataclasses import dataclass

from evaluate.accuracy.ran import Right


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoiltAccuracy(Right):
    """How often one graph is right on spoilt images.

    Attributes:
        kind: How they were spoilt; ``clean`` for not at all.
        strength: How much; 0 for clean.
        unit: What the strength is.
    """

    kind: str
    strength: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """Accuracy on spoilt images.

    Attributes:
        source: Which images, for people.
        rows: How many.
        seed: Decides which, the noise, and which way each is turned.
        settings: Clean first, then each kind by strength, and in each the graphs.
    """

    source: str
    rows: int
    seed: int
    settings: tuple[SpoiltAccuracy, ...]
