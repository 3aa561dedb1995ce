"""The verdict on one graph, and what it rests on. Records; nothing is judged here."""

from dataclasses import dataclass
from typing import Literal

from serve.bundle import Precision

Verdict = Literal["pass", "fail", "unproven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output of one graph on one input set, against the float64 reference.

    Attributes:
        input_set: Which inputs.
        batch_size: Rows of one run.
        rows: Rows compared.
        output: Which output.
        rmse: Root mean squared error of all rows but those judged apart; None where there was nothing to compare.
        rmse_bound: What it may be: three times PyTorch's own.
        max_error: Greatest absolute error.
        max_bound: What it may be: six times PyTorch's own.
        flips: Rows whose top class differs from the reference's; None for an output that decides nothing.
        flips_beyond_margin: Those that count against the graph.
        unflippable_share: Share of rows whose decision no error of the size seen can change.
        flip_rate_upper_95: Upper end of the one-sided 95 % interval of the flip rate.
        verdict: Whether parity holds.
        reason: Why not.
        rows_apart: Rows that are judged apart, because PyTorch's own error is far above the other rows' there.
        apart_ratio: Of those, the larger of error / bound; at most 1 passes.
        slack: How many times as wide the bounds were, because ONNX Runtime rounds coarsely and the graph is right.
        column: Of a regression with several targets, the place of the one that the errors are of, which is nearest to
            its bound; None elsewhere.
    """

    input_set: str
    batch_size: int
    rows: int
    output: str
    rmse: float | None
    rmse_bound: float | None
    max_error: float | None
    max_bound: float | None
    flips: int | None
    flips_beyond_margin: int | None
    unflippable_share: float | None
    flip_rate_upper_95: float | None
    verdict: Verdict
    reason: str | None
    rows_apart: int = 0
    apart_ratio: float | None = None
    slack: float = 1.0
    column: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputError:
    """How far one output of a graph of reduced precision is from the float64 reference, on the held-out samples.

    Attributes:
        output: Which output.
        rms_error: Root of the mean squared error, in the output's own unit.
        max_error: Greatest absolute error.
        spread: Root mean square of the reference without its mean over the rows.
        sqnr_db: Signal to error, 20 log10(spread / rms_error).
        min_sqnr_db: What it must be.
    """

    output: str
    rms_error: float
    max_error: float
    spread: float
    sqnr_db: float
    min_sqnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """The decisions of a graph of reduced precision beside eager PyTorch's in float32, on the same real samples.

    Attributes:
        source: Where the samples are from.
        rows: Samples.
        flips: Those that get another class.
        flip_rate_interval_95: Clopper-Pearson interval of their rate.
        labelled_rows: Samples whose true class is known.
        lost: Of these, right by eager and wrong by the graph; None where no class is known, like all that follow.
        gained: The reverse.
        mcnemar_p: Two-sided p of the exact McNemar test.
        accuracy_drop: Accuracy lost, in [-1, 1].
        accuracy_drop_interval_95: Its paired interval.
        max_drop: What was allowed.
    """

    source: str
    rows: int
    flips: int
    flip_rate_interval_95: tuple[float, float]
    labelled_rows: int
    lost: int | None
    gained: int | None
    mcnemar_p: float | None
    accuracy_drop: float | None
    accuracy_drop_interval_95: tuple[float, float] | None
    max_drop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """What the verdict on a graph of reduced precision rests on; ``decisions`` is None where nothing is decided."""

    outputs: tuple[OutputError, ...]
    decisions: Decisions | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was gained by seeking inputs on which a graph is furthest from the reference, and eager PyTorch itself.

    Errors are the greatest of any value, in multiples of eager's own greatest on the held-out samples.

    Attributes:
        rows: Rows tried for the graph, and as many for eager.
        graph_before: The graph's error on the samples, noise and boundary.
        graph_after: On the worst input that was found for it; None where it gave NaN or infinity there.
        eager_before: Eager's, likewise.
        eager_after: Eager's on the worst input that was found for eager.
    """

    rows: int
    graph_before: float
    graph_after: float | None
    eager_before: float
    eager_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldWeights:
    """The tensors that a graph of full precision holds beside those of the same name in the model.

    Attributes:
        graph: File name in the bundle.
        tensors: Parameters and buffers of the model.
        equal: Those that the graph holds bit for bit.
        folded: Those that are the model's and the batch normalisation's behind them in one.
        differing: Those that are neither, each in a sentence; any fails the graph. The rest goes by other names in the
            graph: turned, joined or folded into others.
    """

    graph: str
    tensors: int
    equal: int
    folded: int
    differing: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """How many of them are the model's own, for a person."""
        parts = [f"{self.equal} of the model's {self.tensors} tensors stand in it bit for bit"]
        if self.folded:
            parts.append(f"{self.folded} are merged with the batch normalisation behind them")
        other = self.tensors - self.equal - self.folded - len(self.differing)
        if other:
            parts.append(f"{other} are not found by name, as exporters merge, turn and drop some: outputs alone tell")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphVerdict:
    """One graph on one provider.

    Attributes:
        graph: File name in the bundle.
        precision: What it computes in.
        provider: What ran it.
        optimized: Whether the provider could rewrite it first, as serving lets it.
        threads: Threads of one run.
        verdict: Whether it may stand for the model.
        reason: What the verdict rests on, where it is none of a full-precision graph that passes.
        comparisons: One per input set, batch size and output.
        reduced: What it rests on, for reduced precision.
        note: What one should know of how it ran.
        search: What seeking worse inputs gained; None where it was not done.
    """

    graph: str
    precision: Precision
    provider: str
    optimized: bool
    verdict: Verdict
    reason: str | None
    comparisons: tuple[Comparison, ...]
    reduced: Reduced | None = None
    note: str | None = None
    threads: int | None = None
    search: Search | None = None
