"""Judge every graph of a bundle against the eager module in float64, and say so in a certificate."""

import math
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from torch import nn

from evaluate.certificate import Certificate, Check, GraphVerdict, Labelled, Mode, Setting, Verdict
from evaluate.contract import NO_RECIPE, golden_checks, label_check, structure_checks
from evaluate.eager import Eager, eager_of
from evaluate.independence import independence_check
from evaluate.inputs import first_rows
from evaluate.plan import Plan, plan_of
from evaluate.reduced import MAX_DROP, REDUCED_RULE
from evaluate.runners import all_candidates
from evaluate.source import HeldOut, all_held_out, dataset_of, golden_of, some_of
from evaluate.truth import Truth, truths_of
from evaluate.verdicts import RealSamples, judge_graph
from export.factory import Factory
from export.work import flops_per_row
from serve.bundle import SCHEMA_VERSION, Bundle, Manifest, Precision
from serve.decisions import decide
from serve.devices import Choice, usable_cpus
from serve.parity import MAX_FACTOR, RMSE_FACTOR
from train.data_root import default_data_root
from train.recipes.registry import find_recipe

RULE = (
    f"rmse(graph, reference) <= {RMSE_FACTOR:g} x max(rmse(eager, reference), 1 ulp) and "
    f"max|graph - reference| <= {MAX_FACTOR:g} x max(max|eager - reference|, 1 ulp); reference is eager in float64"
)
_WORST: tuple[Verdict, ...] = ("fail", "unproven", "pass")


def certify(
    bundle: Bundle,
    *,
    data_root: Path | None = None,
    provider: Choice = "auto",
    samples: int | None = None,
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
        data_root: Where the recipe's data is (or DATA_ROOT); without it the bundle's own held-out samples are used.
        provider: See `evaluate.runners.candidates`.
        samples: How many held-out samples at most; None chooses by what a row costs, and the certificate says how many.
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
    everything = all_held_out(bundle, golden, dataset_of(bundle, data_root or default_data_root()))
    plan = _plan(manifest, everything, eager, samples=samples, quick=quick)
    held_out = some_of(everything, samples=plan.samples, seed=seed)
    truths, skipped = truths_of(manifest, golden, held_out, eager, plan=plan, seed=seed, on_step=on_step)
    checks += (independence_check(truths, row_independent=manifest.row_independent),)
    real = None
    reduced = any(entry.precision not in {None, "float32"} for entry in manifest.files)
    if "classification" in manifest.task and reduced:
        decided = some_of(everything, samples=plan.decisions, seed=seed) if plan.decisions else everything
        on_step(f"eager module on {decided.source}")
        real = RealSamples(held_out=decided, logits=eager.run(decided.inputs)["logits"], max_drop=max_drop)
    del eager  # and with it two copies of the weights, before graphs bring theirs
    graphs = []
    for candidate in all_candidates(bundle, provider=provider, unoptimized=plan.unoptimized):
        on_step(f"{candidate.graph} on {candidate.provider}")
        graphs.append(judge_graph(candidate, truths, task=manifest.task, samples=real))
        del candidate  # so that no two graphs of a large network are held at once
    setting = replace(_setting(held_out, seed, mode), skipped=skipped, labelled=_labelled(held_out, truths[0]))
    return _certificate(bundle, checks=checks, graphs=graphs, setting=setting)


def _labelled(held_out: HeldOut, truth: Truth) -> Labelled | None:
    """Count what eager PyTorch gets right of the samples whose class is known; mixtures have none."""
    logits = truth.eager.get("logits")
    if held_out.targets is None or logits is None or held_out.targets.dtype.kind not in "iu":
        return None
    targets = held_out.targets.astype(np.int64)
    known = targets >= 0
    if not known.any():
        return None
    right = decide(logits[: len(targets)].astype(np.float64)) == targets
    return Labelled(
        rows=int(known.sum()), right=int(right[known].sum()), commonest=int(np.bincount(targets[known]).max())
    )


def _plan(manifest: Manifest, found: HeldOut, eager: Eager, *, samples: int | None, quick: bool) -> Plan:
    one = first_rows(found.inputs, 1)
    widths = (math.prod(size for size in spec.shape[1:] if isinstance(size, int)) for spec in manifest.outputs)
    return plan_of(
        quick=quick,
        samples=samples,
        flops_per_row=flops_per_row(eager.module, tuple(torch.from_numpy(one[spec.name]) for spec in manifest.inputs)),
        width=min(widths),
        real=found.real,
    )


def _manifest_checks(manifest: Manifest) -> tuple[Check, ...]:
    name = manifest.provenance.recipe
    if name is None:
        return (NO_RECIPE,)
    recipe = find_recipe(name)
    return (label_check(manifest.labels, recipe.labels), *structure_checks(manifest, recipe))


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
