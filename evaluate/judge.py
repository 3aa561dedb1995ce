"""Judge every graph of a bundle against the eager module in float64, and say so in a certificate."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray

from evaluate.certificate import Certificate, Check, Comparison, GraphVerdict, Setting, Verdict
from evaluate.compare import decide, decision_parity, vacuity
from evaluate.contract import golden_checks, label_check, structure_checks
from evaluate.inputs import LARGEST_BATCH, InputSet, image_input_sets, table_input_sets
from evaluate.runners import RUN_ERRORS, Candidate, candidates, eager_runner
from evaluate.source import HeldOut, golden_of, held_out_rows
from export.deployable import rebuild, to_float64
from export.module_runner import run_batches
from serve.bundle import SCHEMA_VERSION, Bundle
from serve.devices import Choice, usable_cpus
from serve.parity import MAX_FACTOR, RMSE_FACTOR, numeric_parity
from train.recipes.registry import find_recipe

RULE = (
    f"rmse(graph, reference) <= {RMSE_FACTOR:g} x max(rmse(eager, reference), 1 ulp) and "
    f"max|graph - reference| <= {MAX_FACTOR:g} x max(max|eager - reference|, 1 ulp); reference is eager in float64"
)
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """One input set with what the eager module makes of it."""

    inputs: InputSet
    reference: dict[str, NDArray[np.float64]]
    eager: dict[str, NDArray[np.float32]]


def certify(
    bundle: Bundle,
    *,
    data_root: Path,
    provider: Choice = "auto",
    samples: int = 2048,
    seed: int = 0,
    on_step: Callable[[str], None] = lambda _: None,
) -> Certificate:
    """Compare every graph of a bundle, on every provider and input set, with the eager module.

    Args:
        bundle: A checked bundle.
        data_root: Where the recipe's data is; without it the bundle's own held-out samples are used.
        provider: See `evaluate.runners.candidates`.
        samples: How many held-out samples at most.
        seed: Decides which samples, the noise, and the pairs on the boundary.
        on_step: Told what is being done.

    Raises:
        BundleError: the bundle has no state_dict, golden inputs or graph to compare.
        ProviderError: CUDA was asked for and there is none.
    """
    manifest = bundle.manifest
    recipe = find_recipe(manifest.provenance.recipe or "")
    checks = (label_check(manifest.labels, recipe.labels), *structure_checks(manifest, recipe))
    golden = golden_of(bundle)
    if not all(check.passed for check in checks[1:]):
        nothing = HeldOut(rows=np.empty((0,)), source="none; graphs are not judged while the manifest is wrong")
        return _certificate(bundle, checks=checks, graphs=[], held_out=nothing, seed=seed)
    on_step("building the eager module, in float32 and float64")
    module = rebuild(bundle)
    eager, reference = eager_runner(module, bundle), eager_runner(to_float64(module), bundle)
    checks += golden_checks(
        golden,
        eager=run_batches(eager, golden.inputs, batch_size=LARGEST_BATCH),
        reference=run_batches(reference, golden.inputs, batch_size=LARGEST_BATCH),
    )
    held_out = held_out_rows(bundle, golden, data_root=data_root, samples=samples, seed=seed)

    name = manifest.inputs[0].name

    def predict(rows: NDArray[Any]) -> NDArray[np.int64]:
        return decide(run_batches(reference, {name: rows}, batch_size=LARGEST_BATCH)["logits"])

    on_step("making input sets")
    truths = []
    if manifest.preprocessing is not None:
        sets = image_input_sets(held_out.rows, predict=predict, seed=seed)
    else:
        sets = table_input_sets(
            held_out.rows, manifest.features, predict=None if manifest.task == "regression" else predict, seed=seed
        )
    for inputs in sets:
        on_step(f"eager module on {inputs.name}")
        truths.append(
            Truth(
                inputs=inputs,
                reference=run_batches(reference, {name: inputs.rows}, batch_size=LARGEST_BATCH),
                eager=run_batches(eager, {name: inputs.rows}, batch_size=LARGEST_BATCH),
            )
        )
    graphs = []
    for candidate in candidates(bundle, provider=provider, unoptimized=True):
        on_step(f"{candidate.graph} on {candidate.provider}")
        graphs.append(judge_graph(candidate, truths, input_name=name))
    return _certificate(bundle, checks=checks, graphs=graphs, held_out=held_out, seed=seed)


def _certificate(
    bundle: Bundle, *, checks: tuple[Check, ...], graphs: list[GraphVerdict], held_out: HeldOut, seed: int
) -> Certificate:
    return Certificate(
        schema_version=SCHEMA_VERSION,
        sha256="0" * 64,
        bundle_sha256=bundle.manifest.sha256,
        name=bundle.manifest.name,
        passed=bool(graphs)
        and all(check.passed for check in checks)
        and all(graph.verdict == "pass" for graph in graphs),
        rule=RULE,
        setting=_setting(held_out, seed),
        checks=checks,
        graphs=tuple(graphs),
    )


def judge_graph(candidate: Candidate, truths: list[Truth], *, input_name: str) -> GraphVerdict:
    """Judge one graph on all input sets; the first set is the one of real samples, which must prove something."""
    comparisons: list[Comparison] = []
    fault = candidate.fault
    if candidate.runner is not None:
        for index, truth in enumerate(truths):
            try:
                outputs = run_batches(
                    candidate.runner, {input_name: truth.inputs.rows}, batch_size=truth.inputs.batch_size
                )
            except RUN_ERRORS as error:
                lines = str(error).strip().splitlines()
                what = lines[-1] if lines else repr(error)
                fault = f"it fails on {truth.inputs.name} at batch size {truth.inputs.batch_size} ({what})"
                break
            comparisons.extend(compare_outputs(outputs, truth, must_vary=index == 0))
    broken = next((c for c in comparisons if c.verdict != "pass"), None)
    verdict: Verdict = "fail" if fault or any(c.verdict == "fail" for c in comparisons) else "pass"
    if verdict == "pass" and broken is not None:
        verdict = "unproven"
    if fault is None and broken is not None:
        fault = f"{broken.output} on {broken.input_set}: {broken.reason}"
    return GraphVerdict(
        graph=candidate.graph,
        precision=candidate.precision,
        provider=candidate.provider,
        optimized=candidate.optimized,
        verdict=verdict,
        reason=fault,
        comparisons=tuple(comparisons),
    )


def compare_outputs(outputs: Arrays, truth: Truth, *, must_vary: bool) -> list[Comparison]:
    """Compare every output of one graph on one input set."""
    judged = truth.inputs.judged
    found = []
    for name, reference in truth.reference.items():
        expected = reference[judged]
        candidate = outputs[name]
        candidate = candidate[judged] if len(candidate) == len(judged) else candidate
        numeric = numeric_parity(candidate, eager=truth.eager[name][judged], reference=expected)
        decision = None
        faults = [numeric.fault] if numeric.fault is not None else []
        empty = None
        if numeric.fault is None:
            if not numeric.passed:
                faults.append(
                    f"error is rmse {numeric.rmse:.3g} and max {numeric.max_error:.3g}, "
                    f"but {numeric.rmse_bound:.3g} and {numeric.max_bound:.3g} are allowed"
                )
            if name == "logits":
                decision = decision_parity(candidate, expected, allowed_error=numeric.max_bound)
                if not decision.passed:
                    faults.append(f"{decision.flips_beyond_margin} of {decision.rows} decisions differ")
            empty = vacuity(expected, allowed_error=numeric.max_bound) if must_vary else None
        verdict: Verdict = "fail" if faults else "unproven" if empty else "pass"
        finite = numeric.fault is None
        found.append(
            Comparison(
                input_set=truth.inputs.name,
                batch_size=truth.inputs.batch_size,
                rows=len(expected),
                output=name,
                rmse=numeric.rmse if finite else None,
                rmse_bound=numeric.rmse_bound if finite else None,
                max_error=numeric.max_error if finite else None,
                max_bound=numeric.max_bound if finite else None,
                flips=decision.flips if decision else None,
                flips_beyond_margin=decision.flips_beyond_margin if decision else None,
                unflippable_share=decision.unflippable_share if decision else None,
                flip_rate_upper_95=decision.flip_rate_upper_95 if decision else None,
                verdict=verdict,
                reason="; ".join(faults) or empty,
            )
        )
    return found


def _setting(held_out: HeldOut, seed: int) -> Setting:
    return Setting(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        held_out_rows=len(held_out.rows),
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
