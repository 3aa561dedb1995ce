"""Run all samples whose truth is known through eager and every graph."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evaluate.accuracy.trouble import AccuracyError
from evaluate.eager import checked_eager
from evaluate.labelled import Labelled, labelled_samples
from evaluate.runners import RUN_ERRORS, candidates, weights_bytes
from export.factory import Factory
from export.module_runner import run_batches
from serve.bundle import Bundle, BundleError, Manifest
from serve.decisions import decide
from serve.devices import Choice
from serve.runner import Runner

EAGER = "eager"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What one graph made of all samples: its outputs by name, ``(rows, …)``, and in how many seconds."""

    graph: str
    provider: str
    size_bytes: int
    runner: Runner
    outputs: dict[str, NDArray[Any]]
    duration_s: float

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Which rows have neither NaN nor infinity in any output, ``(rows,)``."""
        return np.asarray(np.all([np.isfinite(values).all(axis=1) for values in self.outputs.values()], axis=0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """All samples through eager, which comes first, and every graph.

    Attributes:
        manifest: Of the bundle.
        labelled: The samples.
        all: What each made of them.
        reference: Float64 logits of the eager module; None where nobody decides unlike it, and of a regression.
        batch_size: Rows of one run.
    """

    manifest: Manifest
    labelled: Labelled
    all: tuple[Outcome, ...]
    reference: NDArray[np.float64] | None
    batch_size: int


def check_request(bundle: Bundle, *, graphs: Sequence[str], batch_size: int | None, robustness: bool) -> None:
    """Refuse what cannot be measured of a bundle, before anything is run.

    Raises:
        AccuracyError: it has no such graph, or no classes, or takes no images.
    """
    manifest = bundle.manifest
    there = [entry.path for entry in manifest.files if entry.format in {"onnx", "torchscript", "exported-program"}]
    for graph in graphs:
        if graph not in {*there, EAGER}:
            raise AccuracyError(
                f"--graph is {graph}, but {manifest.name} has {', '.join(there) or 'no graph'}; give one of these, or "
                f"{EAGER}"
            )
    if batch_size is not None and "classification" not in manifest.task:
        raise AccuracyError(
            f"--batch-mean is a mean of accuracies, but {manifest.name} is a {manifest.task}; leave it out"
        )
    if robustness and (manifest.preprocessing is None or "classification" not in manifest.task):
        takes = ", ".join(spec.name for spec in manifest.inputs)
        raise AccuracyError(
            f"--robustness spoils images to be classified, but {manifest.name} is a {manifest.task} of {takes}; leave "
            "it out"
        )


def run_samples(
    bundle: Bundle,
    *,
    data_root: Path,
    samples: Path | None = None,
    provider: Choice = "auto",
    graphs: Sequence[str] = (),
    factory: Factory | None = None,
    module: nn.Module | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    labelled: Labelled | None = None,
) -> Outcomes:
    """Run all samples whose truth is known through the eager module and the graphs; see `measure_accuracy`.

    Where `labelled` is given, it is run, and `samples` and `data_root` are not looked at.
    """
    manifest = bundle.manifest
    on_step("reading the samples")
    labelled = labelled or labelled_samples(bundle, data_root=data_root, samples=samples)
    inputs = labelled.inputs
    decisive = "prediction" if manifest.task == "regression" else "logits"
    kept = {decisive} if manifest.task == "regression" else {decisive, "probabilities"}
    eager = checked_eager(bundle, factory=factory, module=module)

    def run(graph: str, where: str, size_bytes: int, runner: Runner) -> Outcome:
        on_step(f"running the samples through {graph}, {where}")
        start = time.perf_counter()
        outputs = run_batches(runner, inputs, batch_size=eager.batch_size)
        return Outcome(
            graph=graph,
            provider=where,
            size_bytes=size_bytes,
            runner=runner,
            outputs={name: values for name, values in outputs.items() if name in kept},
            duration_s=time.perf_counter() - start,
        )

    outcomes = [run(EAGER, "torch CPU", weights_bytes(bundle), eager.single)]
    for candidate in candidates(bundle, provider=provider, graphs=graphs or None):
        if candidate.runner is None:
            raise BundleError(f"{candidate.graph} cannot be run: {candidate.fault}")
        try:
            outcomes.append(run(candidate.graph, candidate.provider, candidate.size_bytes, candidate.runner))
        except RUN_ERRORS as error:
            raise BundleError(
                f"{candidate.graph} fails on {candidate.provider}: {error}; see evaluate parity"
            ) from error
    reference = None
    if decisive == "logits" and any(
        (decide(o.outputs[decisive]) != decide(outcomes[0].outputs[decisive])).any() for o in outcomes
    ):
        on_step("running the samples through eager in float64")
        reference = eager.run64(inputs)[decisive]
    return Outcomes(
        manifest=manifest,
        labelled=labelled,
        all=tuple(outcomes),
        reference=reference,
        batch_size=eager.batch_size,
    )
