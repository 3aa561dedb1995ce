"""What all figures of one graph begin with: what ran, on how many samples, and how often it was right."""

from dataclasses import dataclass

from evaluate.reduced import PairedDrop


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What ran on which samples.

    Attributes:
        graph: File name, or ``eager``.
        provider: What ran it.
        rows: Samples, each counted once.
    """

    graph: str
    provider: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Right(Ran):
    """How often that was right.

    Attributes:
        correct: How many samples got their true label; one whose logits are not finite did not.
        top1_accuracy: correct / rows.
        interval_95: Exact interval (Clopper-Pearson) of the accuracy.
        drop: How much accuracy is lost on the same samples beside eager, or beside the same graph on unspoilt images;
            None for those themselves.
    """

    correct: int
    top1_accuracy: float
    interval_95: tuple[float, float]
    drop: PairedDrop | None
