"""How right every graph is where the truth is known, beside eager: the figures of all that they gave."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evaluate.accuracy.classes import batch_mean, score_classes, top_k
from evaluate.accuracy.errors import measure_errors
from evaluate.accuracy.probabilities import auc_statistic, confidences, put_together, score_statistic
from evaluate.accuracy.record import Accuracy, Estimate, GraphAccuracy, Probabilities
from evaluate.accuracy.resample import RESAMPLES, Statistic, estimate_all
from evaluate.accuracy.robustness import Subject, measure_robustness
from evaluate.accuracy.run import Outcome, Outcomes, check_request, run_samples
from evaluate.accuracy.spoilt import Robustness
from evaluate.compare import decision_margin, interval
from evaluate.reduced import paired_drop
from export.factory import Factory
from serve.bundle import Bundle
from serve.decisions import decide
from serve.devices import Choice
from serve.parity import numeric_parity


def measure_accuracy(
    bundle: Bundle,
    *,
    data_root: Path,
    samples: Path | None = None,
    provider: Choice = "auto",
    graphs: Sequence[str] = (),
    batch_size: int | None = None,
    robustness: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    factory: Factory | None = None,
    module: nn.Module | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Accuracy:
    """Run all samples whose truth is known through the eager module and the graphs, and put every figure together.

    Args:
        bundle: A checked bundle.
        data_root: Where the recipe's data is; see `labelled_samples`.
        samples: What to measure on instead.
        provider: See `evaluate.runners.all_candidates`.
        graphs: File names of those to run; all of them unless given.
        batch_size: Also give the mean of the accuracies of batches of so many, as the source notes do.
        robustness: Also run images that are spoilt.
        resamples: Of the bootstrap.
        seed: Of the bootstrap and of what spoils images.
        factory: What builds the network, where it is none of this project's own.
        module: The network itself, where it is at hand.
        on_step: Told what is being done.

    Raises:
        DataError: the data is not there.
        AccuracyError: what is asked for does not fit the bundle.
        BundleError: the bundle was trained on other data, carries no labels, or one of its graphs does not run.
        ExportError: the samples that are given are not what the network takes, or nothing says what is true of them.
    """
    check_request(bundle, graphs=graphs, batch_size=batch_size, robustness=robustness)
    outcomes = run_samples(
        bundle,
        data_root=data_root,
        samples=samples,
        provider=provider,
        graphs=graphs,
        factory=factory,
        module=module,
        on_step=on_step,
    )
    return figures_of(
        outcomes, batch_size=batch_size, robustness=robustness, resamples=resamples, seed=seed, on_step=on_step
    )


def figures_of(
    outcomes: Outcomes,
    *,
    batch_size: int | None = None,
    robustness: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    on_step: Callable[[str], None] = lambda _: None,
) -> Accuracy:
    """Put every figure together; see `measure_accuracy`."""
    on_step(f"drawing {resamples:,} resamples")
    manifest, labelled = outcomes.manifest, outcomes.labelled
    regression = manifest.task == "regression"
    if regression:
        graphs: tuple[GraphAccuracy, ...] = ()
        errors = measure_errors(outcomes, resamples=resamples, seed=seed)
    else:
        graphs, errors = _all_accuracies(outcomes, batch_size=batch_size, resamples=resamples, seed=seed), ()
    return Accuracy(
        name=manifest.name,
        bundle_sha256=manifest.sha256,
        data=labelled.source,
        notes_accuracy=labelled.notes_accuracy,
        labels=manifest.labels,
        resamples=resamples,
        seed=seed,
        batch_size=batch_size,
        graphs=graphs,
        errors=errors,
        robustness=_robustness(outcomes, seed=seed, on_step=on_step) if robustness else None,
    )


def _robustness(outcomes: Outcomes, *, seed: int, on_step: Callable[[str], None]) -> Robustness:
    spec = outcomes.manifest.preprocessing
    if spec is None:
        raise ValueError("images need a preprocessing")
    subjects = [
        Subject(
            graph=outcome.graph,
            provider=outcome.provider,
            runner=outcome.load(),
            decided=np.where(outcome.finite, decide(outcome.outputs["logits"]), -1),
        )
        for outcome in outcomes.all
    ]
    return measure_robustness(
        subjects, outcomes.labelled, spec, batch_size=outcomes.batch_size, seed=seed, on_step=on_step
    )


def _all_accuracies(
    outcomes: Outcomes, *, batch_size: int | None, resamples: int, seed: int
) -> tuple[GraphAccuracy, ...]:
    truth, binary = outcomes.labelled.truth, len(outcomes.manifest.labels) == 2
    statistics: dict[str, Statistic] = {}
    for place, outcome in enumerate(outcomes.all):
        if not outcome.finite.all():
            continue
        logits, probabilities = outcome.outputs["logits"], outcome.outputs["probabilities"]
        statistics[f"{place} scores"] = score_statistic(logits, probabilities, truth)
        if binary:
            statistics[f"{place} auc"] = auc_statistic(logits, truth)
    estimates = estimate_all(statistics, len(truth), resamples=resamples, seed=seed)
    return tuple(
        _accuracy(
            outcome,
            outcomes,
            _probabilities(
                outcome,
                truth,
                estimates.get(f"{place} scores"),
                estimates.get(f"{place} auc", []),
                resamples=resamples,
                seed=seed,
            ),
            batch_size=batch_size,
            resamples=resamples,
            seed=seed,
        )
        for place, outcome in enumerate(outcomes.all)
    )


def _probabilities(
    outcome: Outcome,
    truth: NDArray[np.int64],
    scores: list[Estimate] | None,
    auc: list[Estimate],
    *,
    resamples: int,
    seed: int,
) -> Probabilities | None:
    if scores is None:
        return None
    decided = decide(outcome.outputs["logits"])
    return put_together(
        scores,
        auc,
        confidence=confidences(outcome.outputs["probabilities"], decided),
        right=decided == truth,
        resamples=resamples,
        seed=seed,
    )


def _accuracy(
    outcome: Outcome,
    outcomes: Outcomes,
    probabilities: Probabilities | None,
    *,
    batch_size: int | None,
    resamples: int,
    seed: int,
) -> GraphAccuracy:
    eager, truth, labels = outcomes.all[0], outcomes.labelled.truth, outcomes.manifest.labels
    logits, eager_logits, finite = outcome.outputs["logits"], eager.outputs["logits"], outcome.finite
    decided, rows, classes = decide(logits), len(truth), len(labels)
    right, eager_right = (decided == truth) & finite, (decide(eager_logits) == truth) & eager.finite
    unlike = decided != decide(eager_logits)
    within = np.zeros_like(unlike)
    if outcomes.reference is not None:
        allowed = numeric_parity(eager_logits, eager=eager_logits, reference=outcomes.reference).max_bound
        within = unlike & (decision_margin(outcomes.reference) <= 2 * allowed)
    correct = int(right.sum())
    cells = np.bincount(truth[finite] * classes + decided[finite], minlength=classes * classes)
    confusion = cells.reshape(classes, classes)
    scores, macro = score_classes(
        confusion, np.bincount(truth, minlength=classes), labels, resamples=resamples, seed=seed
    )
    return GraphAccuracy(
        graph=outcome.graph,
        provider=outcome.provider,
        rows=rows,
        correct=correct,
        top1_accuracy=correct / rows,
        interval_95=interval(correct, rows),
        unlike_eager=None if outcome is eager else int(unlike.sum()),
        unlike_within_error=None if outcome is eager else int(within.sum()),
        duration_s=outcome.duration_s,
        size_bytes=outcome.size_bytes,
        drop=None if outcome is eager else paired_drop(eager_right, right),
        batch_mean_accuracy=None if batch_size is None else batch_mean(right, batch_size),
        top_k=top_k(logits, truth, finite),
        macro=macro,
        classes=scores,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        not_finite=int((~finite).sum()),
        probabilities=probabilities,
    )
