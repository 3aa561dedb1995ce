"""All that a report says of one bundle, measured: certificate, accuracy, samples, error along a graph, times."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluate.accuracy.measure import figures_of
from evaluate.accuracy.run import EAGER, Outcome, Outcomes, run_samples
from evaluate.bench.result import Bench, BenchError
from evaluate.bench.run import Measurement
from evaluate.bench.settings import Settings
from evaluate.blame.blame import blame_graph
from evaluate.blame.found import Blame
from evaluate.certificate import Certificate
from evaluate.judge import certify
from evaluate.labelled import Labelled, carried_samples, labelled_samples
from evaluate.report.choose import choose_samples
from evaluate.report.findings import Findings, Galleries, Sampled
from evaluate.runners import RUN_ERRORS
from evaluate.stored import stored_certificate
from evaluate.trouble import ParityError
from export.errors import ExportError
from export.factory import Factory
from serve.bundle import Bundle, BundleError
from serve.decisions import decide
from serve.devices import Choice
from train.dataset import DataError, MissingDataError

BATCH_SIZES = (1, 32)
_ROUNDS = 15
_SECONDS = 0.3  # what a runner may take at a batch size
# of one part, which takes no other down
_FAULTS: tuple[type[Exception], ...] = (BenchError, BundleError, ExportError, ParityError, *RUN_ERRORS)
OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How bundles are examined.

    Attributes:
        data_root: Where the recipes' data is.
        samples: What to measure accuracy on instead.
        provider: What ONNX runs on.
        factory: What builds the network, where it is the user's own, and the name that it was given by.
        seed: Decides which samples are shown.
        bench: Whether times are measured.
        several: Whether other bundles are examined, too, so that wrong samples or data of one are no reason to stop.
    """

    data_root: Path
    samples: Path | None = None
    provider: Choice = "auto"
    factory: tuple[Factory, str] | None = None
    seed: int = 0
    bench: bool = True
    several: bool = False


def examine(bundle: Bundle, request: Request, *, on_step: OnStep = lambda _: None) -> Findings:
    """Examine one bundle.

    Args:
        bundle: A checked bundle, of somebody who is trusted.
        request: How.
        on_step: Told what is being done.

    Raises:
        BundleError: the module cannot be built from it; or it is the only one, and its data is other data.
        ExportError: it is the only one, and the samples that were named cannot be read or are not what it takes.
    """
    factory = request.factory[0] if request.factory else None
    left_out: dict[str, str] = {}
    on_step("reading the certificate")
    stored = stored_certificate(bundle)
    certificate = stored or certify(
        bundle,
        data_root=request.data_root,
        provider=request.provider,
        seed=request.seed,
        quick=True,
        factory=factory,
        on_step=on_step,
    )
    accuracy, sampled, galleries = None, None, None
    wrong = not certificate.graphs
    if wrong:
        why = f"the manifest of {bundle.manifest.name} is wrong, so no graph was run"
        left_out |= dict.fromkeys(("accuracy", "blame", "bench"), why)
    outcomes = None if wrong else _outcomes(bundle, certificate, request, left_out, on_step)
    if outcomes is not None:
        accuracy = figures_of(outcomes, seed=request.seed, on_step=on_step)
        shown = outcomes.all[min(1, len(outcomes.all) - 1)]
        sampled, galleries = _look(shown, outcomes, request)
        del outcomes, shown
    return Findings(
        manifest=bundle.manifest,
        certificate=certificate,
        stored=stored is not None,
        accuracy=accuracy,
        sampled=sampled,
        galleries=galleries,
        blame=None if wrong else _blame(bundle, certificate, factory, left_out, on_step),
        bench=None if wrong else _bench(bundle, certificate, request, left_out, on_step),
        left_out=left_out,
    )


def _running(certificate: Certificate) -> tuple[str, ...]:
    """Return the graphs that could be run: one that cannot is no reason to say nothing of the others."""
    ran = {graph.graph for graph in certificate.graphs if graph.comparisons}
    return (EAGER, *(name for name in dict.fromkeys(graph.graph for graph in certificate.graphs) if name in ran))


def _outcomes(
    bundle: Bundle, certificate: Certificate, request: Request, left_out: dict[str, str], on_step: OnStep
) -> Outcomes | None:
    """Run the samples whose truth is known; where there are none, or they cannot be run, say why."""
    labelled = _labelled(bundle, request, left_out)
    if labelled is None:
        return None
    try:
        return run_samples(
            bundle,
            data_root=request.data_root,
            provider=request.provider,
            graphs=_running(certificate),
            factory=request.factory[0] if request.factory else None,
            on_step=on_step,
            labelled=labelled,
        )
    except _FAULTS as error:
        left_out["accuracy"] = why(bundle, error)
        return None


def _labelled(bundle: Bundle, request: Request, left_out: dict[str, str]) -> Labelled | None:
    if bundle.manifest.task == "tensors":
        left_out["accuracy"] = f"{bundle.manifest.name} returns tensors, of which nobody says what is right"
        return None
    try:
        return labelled_samples(bundle, data_root=request.data_root, samples=request.samples)
    except MissingDataError:
        pass
    except (BundleError, DataError, ExportError) as error:
        nothing_known = isinstance(error, BundleError) and bundle.manifest.provenance.recipe is None
        if not (request.several or nothing_known):
            raise
        left_out["accuracy"] = why(bundle, error)
        return None
    try:
        return carried_samples(bundle)
    except BundleError as error:
        left_out["accuracy"] = why(bundle, error)
        return None


def why(bundle: Bundle, error: Exception) -> str:
    """Return what an error says, of the bundle by its name: who reads the page knows no folders."""
    text, path, name = str(error).strip() or repr(error), str(bundle.path), bundle.manifest.name
    if text.startswith((f"{path} ", f"{path}/", f"{path}:")):
        text = name + text.removeprefix(path)
    elif len(bundle.path.parts) > 1:
        text = text.replace(path, name)
    return text if name in text else f"{name}: {text}"


def _look(shown: Outcome, outcomes: Outcomes, request: Request) -> tuple[Sampled, Galleries]:
    manifest, labelled = outcomes.manifest, outcomes.labelled
    digest = hashlib.sha256()
    for name in sorted(labelled.inputs):
        digest.update(f"{name} {labelled.inputs[name].shape}".encode())
        digest.update(np.ascontiguousarray(labelled.inputs[name]).data)
    regression = manifest.task == "regression"
    truth = labelled.truth
    sampled = Sampled(
        truth=truth,
        right=None if regression else (decide(shown.outputs["logits"]) == truth) & shown.finite,
        predicted=shown.outputs["prediction"].astype(np.float64) if regression else None,
        baseline=None if regression else float(np.bincount(truth).max() / len(truth)),
        carried=labelled.carried,
        named=request.samples is not None,
        inputs_sha256=digest.hexdigest(),
    )
    return sampled, choose_samples(shown, labelled, manifest, seed=request.seed)


def _blame(
    bundle: Bundle, certificate: Certificate, factory: Factory | None, left_out: dict[str, str], on_step: OnStep
) -> Blame | None:
    """Follow the error along the graph that fails, or else along the first; where it cannot be, say why."""
    failed = next((g.graph for g in certificate.graphs if g.verdict == "fail" and g.precision == "float32"), None)
    for graph in dict.fromkeys((failed, None)):
        try:
            return blame_graph(bundle, graph=graph, factory=factory, on_step=on_step)
        except _FAULTS as error:
            left_out.setdefault("blame", why(bundle, error))
    return None


def _bench(
    bundle: Bundle, certificate: Certificate, request: Request, left_out: dict[str, str], on_step: OnStep
) -> Bench | None:
    if not request.bench:
        left_out["bench"] = "--no-bench was given"
        return None
    if any(not graph.comparisons for graph in certificate.graphs):
        left_out["bench"] = f"a graph of {bundle.manifest.name} cannot be run"
        return None
    settings = Settings(
        provider=request.provider, batch_sizes=BATCH_SIZES, rounds=_ROUNDS, seconds=_SECONDS, quick=True
    )
    factory = request.factory[1] if request.factory else None
    try:
        return Measurement(
            bundle, settings, factory=factory, on_step=lambda doing, _: on_step(f"timing: {doing}")
        ).run()
    except _FAULTS as error:
        left_out["bench"] = why(bundle, error)
        return None
