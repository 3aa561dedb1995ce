"""Run all samples whose truth is known through eager and every graph."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evaluate.accuracy.trouble import AccuracyError
from evaluate.eager import checked_eager
from evaluate.labelled import Labelled, labelled_samples
from evaluate.runners import RUN_ERRORS, Candidate, all_candidates, weights_bytes
from export.factory import Factory
from export.first_line import last_line
from export.module_runner import run_batches
from serve.bundle import Bundle, BundleError, Manifest
from serve.decisions import decide
from serve.devices import Choice
from serve.runner import Runner

EAGER = "eager"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What one graph made of all samples.

    Attributes:
        graph: File name, or ``eager``.
        provider: What ran it.
        size_bytes: Size of its file; of eager, of its weights.
        outputs: By name, ``(rows, …)``.
        duration_s: Seconds for all rows.
        load: Returns what ran it; anew, since no two graphs of a large network are held at once.
    """

    graph: str
    provider: str
    size_bytes: int
    outputs: dict[str, NDArray[Any]]
    duration_s: float
    load: Callable[[], Runner]

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

    def run(graph: str, where: str, size_bytes: int, runner: Runner, load: Callable[[], Runner]) -> Outcome:
        on_step(f"running the samples through {graph}, {where}")
        start = time.perf_counter()
        outputs = run_batches(runner, inputs, batch_size=eager.batch_size)
        return Outcome(
            graph=graph,
            provider=where,
            size_bytes=size_bytes,
            outputs={name: values for name, values in outputs.items() if name in kept},
            duration_s=time.perf_counter() - start,
            load=load,
        )

    outcomes = [run(EAGER, "torch CPU", weights_bytes(bundle), eager.single, lambda: eager.single)]
    for candidate in all_candidates(bundle, provider=provider, graphs=graphs or None):
        name, where = candidate.graph, candidate.provider
        load = partial(_load, bundle, name, where, provider)
        try:
            outcomes.append(run(name, where, candidate.size_bytes, _runner_of(candidate), load))
        except BundleError:  # which says all there is to say
            raise
        except RUN_ERRORS as error:
            raise BundleError(
                f"{name} fails on {where} ({last_line(error)}); see `python -m evaluate parity`"
            ) from error
        del candidate
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


def _runner_of(candidate: Candidate) -> Runner:
    if candidate.runner is None:
        raise BundleError(f"{candidate.graph} cannot be run: {candidate.fault}")
    return candidate.runner


def _load(bundle: Bundle, graph: str, where: str, provider: Choice) -> Runner:
    found = all_candidates(bundle, provider=provider, graphs=(graph,))
    return _runner_of(next(candidate for candidate in found if candidate.provider == where))
