"""How right every graph is where the truth is known, beside eager: accuracy, or errors of a regression."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evaluate.compare import decide, decision_margin, interval
from evaluate.eager import eager_of
from evaluate.labelled import labelled_samples
from evaluate.reduced import PairedDrop, paired_drop
from evaluate.runners import RUN_ERRORS, candidates, weights_bytes
from export.factory import Factory
from export.module_runner import run_batches
from serve.bundle import Bundle, BundleError
from serve.devices import Choice
from serve.parity import numeric_parity
from serve.runner import Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphAccuracy:
    """How often one graph is right.

    Attributes:
        graph: File name, or ``eager``.
        provider: What ran it.
        rows: Samples, each counted once.
        correct: How many got their true label.
        top1_accuracy: correct / rows.
        interval_95: Clopper-Pearson interval of the accuracy.
        unlike_eager: Samples that got another label than eager's float32 gives; None for eager itself.
        unlike_within_error: Those where the reference's margin is below twice the error that parity allows.
        duration_s: Seconds for all rows.
        size_bytes: Size of the graph's file; of eager, of its weights.
        drop: Beside eager, how much accuracy is lost on the same rows; None for eager itself.
    """

    graph: str
    provider: str
    rows: int
    correct: int
    top1_accuracy: float
    interval_95: tuple[float, float]
    unlike_eager: int | None
    unlike_within_error: int | None
    duration_s: float
    size_bytes: int
    drop: PairedDrop | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetErrors:
    """How far the predictions of one target are from the true values, in its own unit.

    Attributes:
        target: Its name.
        mean_absolute_error: Mean of |prediction - target|.
        root_mean_squared_error: Root of the mean square.
        r2: Share of the target's variance that is explained, at most 1; None where it does not vary.
        max_absolute_error: The greatest.
    """

    target: str
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float | None
    max_absolute_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphErrors:
    """How far one graph's predictions are from the true values: of all targets together, and of each.

    Attributes:
        graph: File name, or ``eager``.
        provider: What ran it.
        rows: Samples, each counted once.
        mean_absolute_error: Mean of |prediction - target|.
        root_mean_squared_error: Root of the mean square.
        max_absolute_error: The greatest.
        max_difference_to_eager: Greatest difference to eager's float32 prediction; None for eager itself.
        duration_s: Seconds for all rows.
        size_bytes: Size of the graph's file; of eager, of its weights.
        targets: An entry for each target.
    """

    graph: str
    provider: str
    rows: int
    mean_absolute_error: float
    root_mean_squared_error: float
    max_absolute_error: float
    max_difference_to_eager: float | None
    duration_s: float
    size_bytes: int
    targets: tuple[TargetErrors, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What `python -m evaluate accuracy` reports: ``graphs`` of a classification, ``errors`` of a regression."""

    name: str
    bundle_sha256: str
    data: str
    notes_accuracy: float | None
    graphs: tuple[GraphAccuracy, ...]
    errors: tuple[GraphErrors, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Outcome:
    graph: str
    provider: str
    size_bytes: int
    outputs: NDArray[Any]
    duration_s: float


def measure_accuracy(
    bundle: Bundle,
    *,
    data_root: Path,
    samples: Path | None = None,
    provider: Choice = "auto",
    factory: Factory | None = None,
    module: nn.Module | None = None,
) -> Accuracy:
    """Run all samples whose truth is known through the eager module and every graph; see `labelled_samples`.

    Raises:
        DataError: the data is not there.
        BundleError: the bundle was trained on other data, carries no labels, or one of its graphs does not run.
        ExportError: the samples that are given are not what the network takes, or nothing says what is true of them.
    """
    manifest = bundle.manifest
    labelled = labelled_samples(bundle, data_root=data_root, samples=samples)
    inputs, truth = labelled.inputs, labelled.truth
    decisive = "prediction" if manifest.task == "regression" else "logits"
    eager, _ = eager_of(bundle, factory=factory, module=module)

    def run(graph: str, where: str, size_bytes: int, runner: Runner) -> _Outcome:
        start = time.perf_counter()
        outputs = run_batches(runner, inputs, batch_size=eager.batch_size)[decisive]
        duration_s = time.perf_counter() - start
        return _Outcome(graph=graph, provider=where, size_bytes=size_bytes, outputs=outputs, duration_s=duration_s)

    outcomes = [run("eager", "torch CPU", weights_bytes(bundle), eager.single)]
    for candidate in candidates(bundle, provider=provider):
        if candidate.runner is None:
            raise BundleError(f"{candidate.graph} cannot be run: {candidate.fault}")
        try:
            outcomes.append(run(candidate.graph, candidate.provider, candidate.size_bytes, candidate.runner))
        except RUN_ERRORS as error:
            raise BundleError(
                f"{candidate.graph} fails on {candidate.provider}: {error}; see evaluate parity"
            ) from error
    reference = eager.run64(inputs)[decisive]
    regression = manifest.task == "regression"
    return Accuracy(
        name=manifest.name,
        bundle_sha256=manifest.sha256,
        data=labelled.source,
        notes_accuracy=labelled.notes_accuracy,
        graphs=() if regression else tuple(_accuracy(o, outcomes[0], reference, truth) for o in outcomes),
        errors=tuple(_errors(o, outcomes[0], truth, manifest.labels) for o in outcomes) if regression else (),
    )


def _accuracy(
    outcome: _Outcome, eager: _Outcome, reference: NDArray[np.float64], class_index: NDArray[np.int64]
) -> GraphAccuracy:
    decided = decide(outcome.outputs)
    unlike = decided != decide(eager.outputs)
    allowed = numeric_parity(eager.outputs, eager=eager.outputs, reference=reference).max_bound
    within = unlike & (decision_margin(reference) <= 2 * allowed)
    correct = int((decided == class_index).sum())
    return GraphAccuracy(
        graph=outcome.graph,
        provider=outcome.provider,
        rows=len(class_index),
        correct=correct,
        top1_accuracy=correct / len(class_index),
        interval_95=interval(correct, len(class_index)),
        unlike_eager=None if outcome is eager else int(unlike.sum()),
        unlike_within_error=None if outcome is eager else int(within.sum()),
        duration_s=outcome.duration_s,
        size_bytes=outcome.size_bytes,
        drop=None if outcome is eager else paired_drop(decide(eager.outputs) == class_index, decided == class_index),
    )


def _errors(outcome: _Outcome, eager: _Outcome, truth: NDArray[Any], names: tuple[str, ...]) -> GraphErrors:
    error = outcome.outputs.astype(np.float64) - truth
    difference = np.abs(outcome.outputs.astype(np.float64) - eager.outputs).max()
    return GraphErrors(
        graph=outcome.graph,
        provider=outcome.provider,
        rows=len(truth),
        mean_absolute_error=float(np.abs(error).mean()),
        root_mean_squared_error=float(np.sqrt(np.mean(np.square(error)))),
        max_absolute_error=float(np.abs(error).max()),
        max_difference_to_eager=None if outcome is eager else float(difference),
        duration_s=outcome.duration_s,
        size_bytes=outcome.size_bytes,
        targets=tuple(
            _target_errors(name, error[:, index], truth[:, index].astype(np.float64))
            for index, name in enumerate(names)
        ),
    )


def _target_errors(name: str, error: NDArray[np.float64], truth: NDArray[np.float64]) -> TargetErrors:
    squares, spread = float(np.square(error).sum()), float(np.square(truth - truth.mean()).sum())
    return TargetErrors(
        target=name,
        mean_absolute_error=float(np.abs(error).mean()),
        root_mean_squared_error=float(np.sqrt(np.mean(np.square(error)))),
        r2=1 - squares / spread if spread > 0 else None,
        max_absolute_error=float(np.abs(error).max()),
    )
