"""Judge every graph of a bundle against the eager module in float64, and say so in a certificate."""

import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.certificate import Certificate, Check, GraphVerdict, Mode, Setting, Verdict
from evaluate.compare import decide
from evaluate.contract import NO_RECIPE, golden_checks, label_check, structure_checks
from evaluate.eager import Eager, eager_of
from evaluate.image_inputs import image_input_sets
from evaluate.inputs import AGAIN, HOSTILE, Arrays, InputSet, Predict
from evaluate.reduced import MAX_DROP, REDUCED_RULE
from evaluate.runners import candidates
from evaluate.source import HeldOut, all_held_out, dataset_of, golden_of, some_of
from evaluate.table_inputs import table_input_sets
from evaluate.tensor_inputs import tensor_input_sets
from evaluate.verdicts import RealSamples, Truth, judge_graph
from export.factory import Factory
from serve.bundle import SCHEMA_VERSION, Bundle, Manifest, Precision
from serve.devices import Choice, usable_cpus
from serve.golden import Golden
from serve.parity import MAX_FACTOR, RMSE_FACTOR
from train.recipes.registry import find_recipe

RULE = (
    f"rmse(graph, reference) <= {RMSE_FACTOR:g} x max(rmse(eager, reference), 1 ulp) and "
    f"max|graph - reference| <= {MAX_FACTOR:g} x max(max|eager - reference|, 1 ulp); reference is eager in float64"
)
QUICK_SAMPLES = 256
QUICK_DECISIONS = 2048
_WORST: tuple[Verdict, ...] = ("fail", "unproven", "pass")


def certify(
    bundle: Bundle,
    *,
    data_root: Path,
    provider: Choice = "auto",
    samples: int = 2048,
    seed: int = 0,
    quick: bool = False,
    max_drop: float = MAX_DROP,
    factory: Factory | None = None,
    module: nn.Module | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Certificate:
    """Compare every graph of a bundle, on every provider and input set, with the eager module.

    Args:
        bundle: A checked bundle.
        data_root: Where the recipe's data is; without it the bundle's own held-out samples are used.
        provider: See `evaluate.runners.candidates`.
        samples: How many held-out samples at most.
        seed: Decides which samples, the noise, and the pairs on the boundary.
        quick: Fewer samples and input sets, ONNX graphs only as they are served; the certificate says so.
        max_drop: Loss of accuracy, in [0, 1], that a graph of reduced precision may have.
        factory: What builds the network, where it is none of this project's own.
        module: The network itself, where it is at hand; the bundle's weights must be its own.
        on_step: Told what is being done.

    Raises:
        BundleError: the bundle has no state_dict, golden inputs or graph to compare, or takes another factory.
        ProviderError: CUDA was asked for and there is none.
    """
    manifest = bundle.manifest
    golden = golden_of(bundle)
    checks = _manifest_checks(manifest)
    mode: Mode = "quick" if quick else "full"
    if not all(check.passed for check in checks[1:]):
        nothing = HeldOut(inputs={}, targets=None, source="none; graphs are not judged while the manifest is wrong")
        return _certificate(bundle, checks=checks, graphs=[], setting=_setting(nothing, seed, mode))
    on_step("building the eager module, in float32 and float64")
    eager, weights = eager_of(bundle, factory=factory, module=module)
    checks += weights
    checks += golden_checks(golden, eager=eager.run(golden.inputs), reference=eager.run64(golden.inputs))
    everything = all_held_out(bundle, golden, dataset_of(bundle, data_root))
    held_out = some_of(everything, samples=min(samples, QUICK_SAMPLES) if quick else samples, seed=seed)

    on_step("making input sets")
    truths: list[Truth] = []
    skipped: list[str] = []
    for inputs in _input_sets(manifest, golden, held_out, eager, seed=seed, quick=quick):
        on_step(f"eager module on {inputs.name}")
        truth, why = _truth(inputs, eager, must_hold=not truths)
        truths += [truth] if truth else []
        skipped += [why] if why else []
    found = candidates(bundle, provider=provider, unoptimized=not quick)
    real = None
    if "classification" in manifest.task and any(candidate.precision != "float32" for candidate in found):
        decided = some_of(everything, samples=QUICK_DECISIONS, seed=seed) if quick else everything
        on_step(f"eager module on {decided.source}")
        real = RealSamples(held_out=decided, logits=eager.run(decided.inputs)["logits"], max_drop=max_drop)
    graphs = []
    for candidate in found:
        on_step(f"{candidate.graph} on {candidate.provider}")
        graphs.append(judge_graph(candidate, truths, task=manifest.task, samples=real))
    setting = replace(_setting(held_out, seed, mode), skipped=tuple(skipped))
    return _certificate(bundle, checks=checks, graphs=graphs, setting=setting)


def _manifest_checks(manifest: Manifest) -> tuple[Check, ...]:
    name = manifest.provenance.recipe
    if name is None:
        return (NO_RECIPE,)
    recipe = find_recipe(name)
    return (label_check(manifest.labels, recipe.labels), *structure_checks(manifest, recipe))


def _input_sets(
    manifest: Manifest, golden: Golden, held_out: HeldOut, eager: Eager, *, seed: int, quick: bool
) -> list[InputSet]:
    sets = _all_input_sets(manifest, golden, held_out, eager, seed=seed, quick=quick)
    if manifest.row_independent:
        return sets
    kept = [inputs for inputs in sets if inputs.name != HOSTILE and (inputs.name != AGAIN or inputs.batch_size == 1)]
    return [replace(inputs, batch_size=1) for inputs in kept]


def _all_input_sets(
    manifest: Manifest, golden: Golden, held_out: HeldOut, eager: Eager, *, seed: int, quick: bool
) -> list[InputSet]:
    def decided(inputs: Arrays) -> NDArray[np.int64]:
        return decide(eager.run64(inputs)["logits"])

    predict: Predict | None = decided if "classification" in manifest.task else None
    single = len(manifest.inputs) == 1
    if single and manifest.preprocessing is not None:
        return image_input_sets(held_out.inputs, predict=predict, seed=seed, quick=quick)
    if single and manifest.features:
        return table_input_sets(held_out.inputs, manifest.features, predict=predict, seed=seed, quick=quick)
    return tensor_input_sets(held_out.inputs, golden.inputs, predict=predict, seed=seed, quick=quick)


def _truth(inputs: InputSet, eager: Eager, *, must_hold: bool) -> tuple[Truth | None, str | None]:
    """Run one input set through the eager module; what it gives no finite outputs for proves nothing.

    Args:
        inputs: The set.
        eager: The module.
        must_hold: Whether all rows are to stay, whatever comes out: real samples must have finite outputs.

    Returns:
        The truth over the rows that prove something, and the sentence that says which do not; or None for either.
    """
    try:
        reference, computed = eager.run64(inputs.inputs), eager.run(inputs.inputs)
    except (RuntimeError, IndexError, ValueError) as error:
        if must_hold:
            raise
        return (
            None,
            f"{inputs.name}: PyTorch itself fails on them ({(str(error).strip() or repr(error)).splitlines()[0]})",
        )
    finite = inputs.judged & _finite(reference) & _finite(computed)
    missing = int((inputs.judged & ~finite).sum())
    if must_hold or not missing:
        return Truth(inputs=inputs, reference=reference, eager=computed), None
    judged = int(inputs.judged.sum())
    why = f"{inputs.name}: PyTorch itself gives no finite outputs for {missing} of {judged} rows"
    if missing == judged:
        return None, why
    return Truth(inputs=replace(inputs, judged=finite), reference=reference, eager=computed), why


def _finite(outputs: Arrays) -> NDArray[np.bool_]:
    rows = [np.isfinite(values).reshape(len(values), -1).all(axis=1) for values in outputs.values()]
    return np.asarray(np.logical_and.reduce(rows))


def _certificate(
    bundle: Bundle, *, checks: tuple[Check, ...], graphs: list[GraphVerdict], setting: Setting
) -> Certificate:
    sound = all(check.passed for check in checks)
    precisions: dict[Precision, Verdict] = {}
    for graph in graphs:
        verdict = graph.verdict if sound else "fail"
        precisions[graph.precision] = min(verdict, precisions.get(graph.precision, "pass"), key=_WORST.index)
    return Certificate(
        schema_version=SCHEMA_VERSION,
        sha256="0" * 64,
        bundle_sha256=bundle.manifest.sha256,
        name=bundle.manifest.name,
        passed=bool(graphs) and sound and all(graph.verdict == "pass" for graph in graphs),
        precisions=precisions,
        rule=RULE if set(precisions) <= {"float32"} else f"{RULE}; {REDUCED_RULE}",
        setting=setting,
        checks=checks,
        graphs=tuple(graphs),
    )


def _setting(held_out: HeldOut, seed: int, mode: Mode) -> Setting:
    return Setting(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        mode=mode,
        held_out_rows=held_out.rows,
        held_out_source=held_out.source,
        seed=seed,
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
        machine=f"{platform.system()} {platform.machine()}",
        torch_threads=torch.get_num_threads(),
        onnxruntime_threads=usable_cpus(),
        tf32=False,
    )
