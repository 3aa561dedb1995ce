"""All faults and all correct variants of one module, one after the other, each a case."""

import copy
from collections.abc import Callable, Iterator
from zlib import crc32

import numpy as np
import torch
from torch import nn

from evaluate.faults.bundled import Bundled, Graph, Through
from evaluate.faults.case import Case, Group, case_key
from evaluate.faults.fault import Context, Family
from evaluate.faults.graphs import GraphMaker, module_candidate, onnx_candidate, onnx_candidates, trace
from evaluate.faults.ground import Ground
from evaluate.faults.harmless import GraphTest, effect_of, module_is_harmless
from evaluate.faults.in_bundle import BUNDLE_VARIANTS
from evaluate.faults.in_graph import GRAPH_FAULTS
from evaluate.faults.in_input import INPUT_FAULTS
from evaluate.faults.in_layers import LAYER_FAULTS
from evaluate.faults.in_output import OUTPUT_FAULTS
from evaluate.faults.in_weights import WEIGHT_FAULTS
from evaluate.faults.rules import OURS
from evaluate.faults.subjects import runner_of
from evaluate.faults.trial import Trial, either, try_candidate
from evaluate.faults.variants import WINOGRAD, variants
from evaluate.in_process import FAILS
from evaluate.reference_graph import DoubleRunner
from evaluate.runners import Candidate
from export.deployable import to_float64

MODULE_FAULTS = (*INPUT_FAULTS, *LAYER_FAULTS, *OUTPUT_FAULTS)
Known = Callable[[str], bool]


def fault_cases(ground: Ground, maker: GraphMaker, *, known: Known, bundled: Bundled | None = None) -> Iterator[Case]:
    """Plant every fault that fits into a module, and judge what comes of it.

    Args:
        ground: The right module with its truths.
        maker: Makes its ONNX graph.
        known: Whether a case is there already, by its key.
        bundled: Judges each wrong graph through the command line, too; None leaves that out.
    """
    yield from _in_module(ground, known, bundled)
    yield from _in_weights(ground, maker, known, bundled)
    yield from _in_graph(ground, maker, known, bundled)


def bundle_variant_cases(ground: Ground, bundled: Bundled, *, known: Known) -> Iterator[Case]:
    """Judge the right bundle of a module through the command line, each time with other options."""
    for kind, options in BUNDLE_VARIANTS.items():
        if not known(_key("variant", ground, kind)):
            judged = bundled.judge_right(*options)
            yield Case(
                group="variant",
                subject=ground.subject.name,
                scale=ground.scale,
                seed=ground.seed,
                family="bundle",
                kind=kind,
                place="command line",
                rejects={OURS: judged.code == FAILS},
                rejects_samples={},
                harmless=False,
                ratio=None,
                reason=judged.reason,
                exit_code=judged.code,
                said=judged.reason,
            )


def variant_cases(ground: Ground, maker: GraphMaker, *, known: Known, costly: bool) -> Iterator[Case]:
    """Judge every correct variant of a module; those that take a second each only where they may be `costly`."""
    for kind, make in variants(ground.module, ground.subject, ground.samples, maker, costly=costly).items():
        if known(_key("variant", ground, kind)):
            continue
        candidate = make()
        if candidate is not None:
            trial = _try(ground, [candidate], kind)
            family: Family = "coarse" if kind == WINOGRAD else "variant"
            yield _case("variant", ground, kind=kind, family=family, place=candidate.graph, trial=trial)


def _in_module(ground: Ground, known: Known, bundled: Bundled | None) -> Iterator[Case]:
    for fault in MODULE_FAULTS:
        if known(_key("fault", ground, fault.kind)):
            continue
        wrong = fault.plant(copy.deepcopy(ground.module), _context(ground, fault.kind))
        if wrong is None:
            continue
        wrong = wrong.eval()
        graph = trace(wrong, ground.samples)
        trial = _try(ground, [module_candidate(graph, ground.subject)], fault.kind)
        harmless = module_is_harmless(wrong, ground.subject, ground.truths)
        effect = _effect_of(wrong, ground, trial, harmless=harmless)
        yield _case(
            "fault",
            ground,
            kind=fault.kind,
            family=fault.family,
            place="TorchScript",
            trial=trial,
            harmless=harmless,
            effect=effect,
            judged=_judge(bundled, graph, fault.kind),
        )


def _in_weights(ground: Ground, maker: GraphMaker, known: Known, bundled: Bundled | None) -> Iterator[Case]:
    for fault in WEIGHT_FAULTS:
        if known(_key("fault", ground, fault.kind)):
            continue
        state = {name: tensor.clone() for name, tensor in ground.module.state_dict().items()}
        spoilt = fault.spoil(state, _context(ground, fault.kind))
        if spoilt is None:
            continue
        wrong = copy.deepcopy(ground.module)
        wrong.load_state_dict(spoilt)
        graph: Graph
        if maker.exchanges or ground.scale == 1:
            place, graph = "ONNX", maker.make(ground.module, spoilt)
            candidates = onnx_candidates(graph, ground.subject)
        else:  # an export for every one would take most of the time
            place, graph = "TorchScript", trace(wrong, ground.samples)
            candidates = [module_candidate(graph, ground.subject)]
        trial = _try(ground, candidates, fault.kind)
        harmless = module_is_harmless(wrong, ground.subject, ground.truths)
        effect = _effect_of(wrong, ground, trial, harmless=harmless)
        yield _case(
            "fault",
            ground,
            kind=fault.kind,
            family="weights",
            place=place,
            trial=trial,
            harmless=harmless,
            effect=effect,
            judged=_judge(bundled, graph, fault.kind),
        )


def _in_graph(ground: Ground, maker: GraphMaker, known: Known, bundled: Bundled | None) -> Iterator[Case]:
    right = maker.make(ground.module)
    test: GraphTest | None = None
    for fault in GRAPH_FAULTS:
        if known(_key("fault", ground, fault.kind)):
            continue
        wrong = type(right)()
        wrong.CopyFrom(right)
        if not fault.edit(wrong, _context(ground, fault.kind)):
            continue
        served, written = (_try(ground, [one], fault.kind) for one in onnx_candidates(wrong, ground.subject))
        if test is None:
            plain = onnx_candidate(right, ground.subject, optimized=False, threads=1)
            test = GraphTest(right, ground.truths, _try(ground, [plain], fault.kind).outputs)
        harmless = test.is_harmless(wrong, written.outputs)
        trial = either([served, written])
        missed = not trial.rejects[OURS] and not harmless
        yield _case(
            "fault",
            ground,
            kind=fault.kind,
            family="graph",
            place="ONNX",
            trial=trial,
            harmless=harmless,
            effect=effect_of(DoubleRunner(wrong), ground.truths) if missed else None,
            judged=_judge(bundled, wrong, fault.kind),
        )


def _effect_of(wrong: nn.Module, ground: Ground, trial: Trial, *, harmless: bool) -> float | None:
    if trial.rejects[OURS] or harmless:
        return None
    return effect_of(runner_of(to_float64(wrong), ground.subject), ground.truths)


def _try(ground: Ground, candidates: list[Candidate], kind: str) -> Trial:
    _seed(kind)
    return either([try_candidate(one, ground.truths, task=ground.subject.task) for one in candidates])


def _judge(bundled: Bundled | None, graph: Graph, kind: str) -> Through | None:
    if bundled is None:
        return None
    _seed(kind)
    return bundled.judge_graph(graph)


def _seed(kind: str) -> None:
    torch.manual_seed(crc32(kind.encode()))  # dropout that is left on draws


def _context(ground: Ground, kind: str) -> Context:
    return Context(
        subject=ground.subject,
        samples=ground.samples,
        scale=ground.scale,
        seed=ground.seed,
        largest=ground.largest,
        rng=np.random.default_rng([crc32(kind.encode()), crc32(ground.subject.name.encode()), ground.seed]),
    )


def _key(group: Group, ground: Ground, kind: str) -> str:
    return case_key(group, ground.subject.name, ground.scale, ground.seed, kind)


def _case(
    group: Group,
    ground: Ground,
    *,
    kind: str,
    family: Family,
    place: str,
    trial: Trial,
    harmless: bool = False,
    effect: float | None = None,
    judged: Through | None = None,
) -> Case:
    return Case(
        group=group,
        subject=ground.subject.name,
        scale=ground.scale,
        seed=ground.seed,
        family=family,
        kind=kind,
        place=place,
        rejects=trial.rejects,
        rejects_samples=trial.rejects_samples,
        harmless=harmless,
        ratio=trial.ratio,
        reason=trial.reason,
        effect=effect,
        exit_code=judged.code if judged else None,
        exit_code_with_data=judged.code_with_data if judged else None,
        said=judged.reason if judged else None,
    )
