"""Judge every graph of a bundle against the eager module in float64, and say so in a certificate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from evaluate.certificate import Certificate, Check
from evaluate.conclusion import conclude, labelled_of, setting_of
from evaluate.contract import NO_RECIPE, golden_checks, label_check, structure_checks
from evaluate.eager import Eager, eager_of
from evaluate.graph_verdict import GraphVerdict
from evaluate.held_weights import held_weights, with_weights
from evaluate.independence import independence_check
from evaluate.inputs import first_rows
from evaluate.plan import Plan, plan_of
from evaluate.reduced import MAX_DROP
from evaluate.request import Request
from evaluate.runners import all_candidates
from evaluate.source import HeldOut, all_held_out, dataset_of, golden_of, recipe_of, some_of
from evaluate.torch_threads import torch_threads
from evaluate.truth import fewest, truths_of
from evaluate.verdicts import RealSamples, judge_graph
from evaluate.ways import Optimization, choose_graphs, graph_files, ways_of
from evaluate.worst import SOUGHT, Seeker
from export.factory import Factory
from export.work import flops_per_row
from serve.bundle import Bundle, Manifest
from serve.devices import Choice
from train.data_root import default_data_root


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
    threads: int | None = None,
    optimization: Optimization | None = None,
    runners: Sequence[str] = (),
    held_out: HeldOut | None = None,
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
        threads: Threads of a run, of PyTorch and of ONNX Runtime; None means as many as each takes by itself.
        optimization: The only level that ONNX graphs are run at; None means both, or quickly only as they are served.
        runners: Which graphs, see `evaluate.ways.choose_graphs`; the certificate names those left out.
        held_out: Samples of the caller's own, in place of the recipe's or the bundle's.
        on_step: Told what is being done.

    Raises:
        BundleError: the bundle has no state_dict, golden inputs or graph to compare, or takes another factory.
        ParityError: `runners` name no graph of the bundle, or the network keeps tensors of one run outside of itself.
        ProviderError: CUDA was asked for and there is none.
    """
    with torch_threads(threads):
        return _certify(
            bundle,
            Request(
                data_root=data_root or default_data_root(),
                provider=provider,
                samples=samples,
                seed=seed,
                mode="quick" if quick else "full",
                max_drop=max_drop,
                factory=factory,
                module=module,
                threads=threads,
                optimization=optimization,
                graphs=choose_graphs(bundle, runners),
                held_out=held_out,
            ),
            on_step,
        )


def _certify(bundle: Bundle, request: Request, on_step: Callable[[str], None]) -> Certificate:
    manifest, seed = bundle.manifest, request.seed
    golden = golden_of(bundle)
    checks = _manifest_checks(bundle)
    if not all(check.passed for check in checks[1:]):
        nothing = HeldOut(inputs={}, targets=None, source="none; graphs are not judged while the manifest is wrong")
        return conclude(bundle, checks=checks, graphs=[], setting=setting_of(bundle, request, nothing))
    on_step("building the eager module, in float32 and float64")
    eager, found = eager_of(bundle, factory=request.factory, module=request.module)
    checks += found
    known, reference = eager.run(golden.inputs), eager.run64(golden.inputs)
    checks += golden_checks(golden, eager=known, reference=reference, weaker=bool(eager.float32_operators))
    everything = request.held_out or all_held_out(bundle, golden, dataset_of(bundle, request.data_root))
    plan = _plan(manifest, everything, eager, samples=request.samples, quick=request.mode == "quick")
    held_out = some_of(everything, samples=plan.samples, seed=seed)
    truths, skipped = truths_of(manifest, golden, held_out, eager, plan=plan, seed=seed, on_step=on_step)
    checks += (independence_check(truths, row_independent=manifest.row_independent),)
    real = None
    reduced = any(entry.precision not in {None, "float32"} for entry in manifest.files if entry.path in request.graphs)
    if "classification" in manifest.task and reduced:
        decided = some_of(everything, samples=plan.decisions, seed=seed) if plan.decisions else everything
        on_step(f"eager module on {decided.source}")
        real = RealSamples(held_out=decided, logits=eager.run(decided.inputs)["logits"], max_drop=request.max_drop)
    if not plan.every_size and manifest.row_independent:
        ran = ", ".join(map(str, plan.batch_sizes))
        skipped += (f"batches of every size: a row of this network costs too much; what ran were batches of {ran}",)
    seeker = None
    if plan.climb:
        on_step("seeking the inputs that the eager module is worst on")
        seeker = Seeker(manifest, eager, truths, steps=plan.climb, seed=seed)
        skipped += seeker.notes
    elif request.mode == "full":
        skipped += (f"{SOUGHT}: a row of this network costs too much to try hundreds of them",)
    on_step("comparing the weights of the graphs with the module's")
    exact = [e for e in graph_files(bundle) if e.path in request.graphs and e.precision in {None, "float32"}]
    held = {entry.path: held_weights(bundle, entry, eager.module, golden.inputs) for entry in exact}
    skipped += tuple(f"the weights of {graph}: they cannot be read by name" for graph in held if held[graph] is None)
    float32_operators = eager.float32_operators
    del eager  # and with it two copies of the weights, before graphs bring theirs, unless a search needs it
    ways = ways_of(plan, optimization=request.optimization)
    graphs: list[GraphVerdict] = []
    for candidate in all_candidates(
        bundle,
        provider=request.provider,
        ways=ways,
        threads=request.threads,
        graphs=request.graphs,
        second_opinion=plan.second_opinion,
    ):
        on_step(f"{candidate.graph} on {candidate.provider}, threads: {candidate.threads}")
        again = plan.every_size or candidate.graph not in {graph.graph for graph in graphs}
        own = truths if again or candidate.way.threads is None else fewest(truths)
        alike = [(g.graph, g.provider, g.optimized) for g in graphs]  # in other threads, a search would find the same
        sought = None if (candidate.graph, candidate.provider, candidate.optimized) in alike else seeker
        verdict = judge_graph(candidate, own, task=manifest.task, samples=real, seeker=sought)
        graphs.append(with_weights(verdict, held.get(candidate.graph)))
        del candidate  # so that no two graphs of a large network are held at once
    setting = replace(
        setting_of(bundle, request, held_out),
        skipped=skipped,
        labelled=labelled_of(held_out, truths[0]),
        float32_operators=float32_operators,
    )
    return conclude(
        bundle,
        checks=checks,
        graphs=graphs,
        setting=setting,
        weights=tuple(one for one in held.values() if one is not None),
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


def _manifest_checks(bundle: Bundle) -> tuple[Check, ...]:
    recipe = recipe_of(bundle)
    if recipe is None:
        return (NO_RECIPE,)
    return (label_check(bundle.manifest.labels, recipe.labels), *structure_checks(bundle.manifest, recipe))
