"""What `python -m evaluate accuracy` reports: figures of every graph, each with its 95 % interval."""

from dataclasses import dataclass

from evaluate.accuracy.ran import Ran, Right
from evaluate.accuracy.spoilt import Robustness

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval; None where there is nothing to divide by.

    There is a figure and no interval where all resamples of a bootstrap give the same, which says nothing.
    """

    value: float | None
    interval_95: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """How often the true class is among the k greatest logits; the interval is exact (Clopper-Pearson)."""

    k: int
    correct: int
    accuracy: float
    interval_95: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """How one class is told from the others.

    Attributes:
        label: Its name.
        support: Samples that are of it.
        predicted: Samples that are taken for it.
        precision: Share of those predicted that are of it; exact interval.
        recall: Share of its samples that are predicted; exact interval.
        f1: Harmonic mean of the two; bootstrap interval.
    """

    label: str
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroScores:
    """Means over the classes that have samples, each weighing the same, whatever its size; bootstrap intervals."""

    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceBin:
    """Samples whose predicted class has a probability above `low` and up to `high`.

    Attributes:
        low: Lower edge.
        high: Upper edge.
        rows: How many there are.
        confidence: Mean probability of the predicted class; None without samples.
        accuracy: Share that is right; exact interval.
    """

    low: float
    high: float
    rows: int
    confidence: float | None
    accuracy: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Probabilities:
    """How far the probabilities can be believed.

    Attributes:
        expected_calibration_error: Mean over all samples of |accuracy - confidence| of their bin.
        if_calibrated_95: 95 % of perfectly calibrated models measure at most this on as many samples, as sure as these.
        brier: Mean squared error of the probabilities, summed over the classes; of two classes, of one of them.
        log_loss: Mean of -log(probability of the true class), from the logits in float64, in nats.
        roc_auc: Of two classes, how often a sample of the second has a greater logit than one of the first.
        bins: Of equal width, from 0 to 1.
    """

    expected_calibration_error: Estimate
    if_calibrated_95: float
    brier: Estimate
    log_loss: Estimate
    roc_auc: Estimate | None
    bins: tuple[ConfidenceBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphAccuracy(Right):
    """How often one graph is right, and in what it errs.

    Attributes:
        unlike_eager: Samples that got another label than eager's float32 gives; None for eager itself.
        unlike_within_error: Those where the reference's margin is below twice the error that parity allows.
        duration_s: Seconds for all rows.
        size_bytes: Size of the graph's file; of eager, of its weights.
        batch_mean_accuracy: Mean of the accuracies of batches, the short last one counting like a full one; None where
            it was not asked for.
        top_k: None for two classes.
        macro: Means over the classes.
        classes: An entry for each.
        confusion: How many samples of each true class (row) were taken for each (column).
        not_finite: Samples with NaN or infinity in their outputs: in no column of the confusions, and right in nothing.
        probabilities: None where an output is not finite.
    """

    unlike_eager: int | None
    unlike_within_error: int | None
    duration_s: float
    size_bytes: int
    batch_mean_accuracy: float | None
    top_k: TopK | None
    macro: MacroScores
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    not_finite: int
    probabilities: Probabilities | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetErrors:
    """How far the predictions of one target are from the true values, in its own unit; bootstrap intervals.

    Attributes:
        target: Its name.
        mean_absolute_error: Mean of |prediction - target|.
        root_mean_squared_error: Root of the mean square.
        r2: Share of the target's variance that is explained, at most 1; None where it does not vary.
        max_absolute_error: The greatest.
        mean_absolute_error_95: Interval; None where it is not finite, or all resamples give the same.
        root_mean_squared_error_95: Interval.
        r2_95: Interval.
        beyond_max_upper_95: Share of further samples whose error is beyond the greatest, at most, at 95 % confidence:
            resamples never exceed a maximum, so that a bootstrap says nothing of it.
    """

    target: str
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float | None
    max_absolute_error: float
    mean_absolute_error_95: Interval | None
    root_mean_squared_error_95: Interval | None
    r2_95: Interval | None
    beyond_max_upper_95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphErrors(Ran):
    """How far one graph's predictions are from the true values: of all targets together, and of each.

    Attributes:
        mean_absolute_error: Mean of |prediction - target|.
        root_mean_squared_error: Root of the mean square.
        max_absolute_error: The greatest.
        max_difference_to_eager: Greatest difference to eager's float32 prediction; None for eager itself.
        duration_s: Seconds for all rows.
        size_bytes: Size of the graph's file; of eager, of its weights.
        targets: An entry for each target.
    """

    mean_absolute_error: float
    root_mean_squared_error: float
    max_absolute_error: float
    max_difference_to_eager: float | None
    duration_s: float
    size_bytes: int
    targets: tuple[TargetErrors, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What `python -m evaluate accuracy` reports: ``graphs`` of a classification, ``errors`` of a regression.

    Attributes:
        name: Of the bundle.
        bundle_sha256: Digest of its manifest.
        data: What was measured on, for people.
        notes_accuracy: What the source notes print for that data, in [0, 1]; None where they print nothing.
        labels: Of the classes, or names of the targets.
        resamples: Of the bootstrap, whose intervals are percentiles.
        seed: Of the bootstrap and of robustness.
        batch_size: Of `GraphAccuracy.batch_mean_accuracy`.
        graphs: Of a classification.
        errors: Of a regression.
        robustness: Where it was asked for.
    """

    name: str
    bundle_sha256: str
    data: str
    notes_accuracy: float | None
    labels: tuple[str, ...]
    resamples: int
    seed: int
    batch_size: int | None
    graphs: tuple[GraphAccuracy, ...]
    errors: tuple[GraphErrors, ...]
    robustness: Robustness | None
