"""Top-1 accuracy of every graph on the recipe's test split, beside eager's."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.compare import interval
from evaluate.inputs import LARGEST_BATCH
from evaluate.runners import RUN_ERRORS, candidates, eager_runner, run_batches
from evaluate.source import check_dataset
from export.deployable import rebuild, to_float64
from serve.bundle import Bundle, BundleError
from serve.devices import Choice
from serve.runner import Runner
from train.data import load_dataset
from train.recipes.registry import find_recipe


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
        unlike_within_error: Those where the reference's margin is below twice the graph's greatest error.
        duration_s: Seconds for all rows.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What `python -m evaluate accuracy` reports."""

    name: str
    bundle_sha256: str
    data: str
    notes_accuracy: float | None
    graphs: tuple[GraphAccuracy, ...]


def measure_accuracy(bundle: Bundle, *, data_root: Path, provider: Choice = "auto") -> Accuracy:
    """Run the whole test split through the eager module and every graph.

    Raises:
        DataError: the data is not there.
        BundleError: the bundle was trained on other data, or one of its graphs does not run.
    """
    recipe = find_recipe(bundle.manifest.provenance.recipe or "")
    dataset = load_dataset(recipe, data_root)
    check_dataset(bundle, dataset, data_root)
    images, class_index = dataset.test.images, dataset.test.class_index
    module = rebuild(bundle)
    reference: NDArray[np.float64] = run_batches(
        eager_runner(to_float64(module), bundle), {"image": images}, batch_size=LARGEST_BATCH
    )["logits"]
    eager_logits, duration_s = _logits(eager_runner(module, bundle), images)
    rows = [_row("eager", "torch CPU", eager_logits, class_index, duration_s)]
    for candidate in candidates(bundle, provider=provider):
        if candidate.runner is None:
            raise BundleError(f"{candidate.graph} cannot be run: {candidate.fault}")
        try:
            logits, duration_s = _logits(candidate.runner, images)
        except RUN_ERRORS as error:
            raise BundleError(
                f"{candidate.graph} fails on {candidate.provider}: {error}; see evaluate parity"
            ) from error
        unlike = logits.argmax(axis=1) != eager_logits.argmax(axis=1)
        ordered = np.sort(reference, axis=1)
        margin = ordered[:, -1] - ordered[:, -2]
        within = unlike & (margin < 2 * np.abs(logits - reference).max())
        rows.append(
            _row(
                candidate.graph,
                candidate.provider,
                logits,
                class_index,
                duration_s,
                unlike_eager=int(unlike.sum()),
                unlike_within_error=int(within.sum()),
            )
        )
    return Accuracy(
        name=bundle.manifest.name,
        bundle_sha256=bundle.manifest.sha256,
        data=f"{len(images)} test samples of {recipe.data}",
        notes_accuracy=recipe.notes_accuracy,
        graphs=tuple(rows),
    )


def _logits(runner: Runner, images: NDArray[np.uint8]) -> tuple[NDArray[Any], float]:
    start = time.perf_counter()
    logits: NDArray[Any] = run_batches(runner, {"image": images}, batch_size=LARGEST_BATCH)["logits"]
    return logits, time.perf_counter() - start


def _row(
    graph: str,
    provider: str,
    logits: NDArray[Any],
    class_index: NDArray[np.int64],
    duration_s: float,
    *,
    unlike_eager: int | None = None,
    unlike_within_error: int | None = None,
) -> GraphAccuracy:
    correct = int((logits.argmax(axis=1) == class_index).sum())
    return GraphAccuracy(
        graph=graph,
        provider=provider,
        rows=len(class_index),
        correct=correct,
        top1_accuracy=correct / len(class_index),
        interval_95=interval(correct, len(class_index)),
        unlike_eager=unlike_eager,
        unlike_within_error=unlike_within_error,
        duration_s=duration_s,
    )
