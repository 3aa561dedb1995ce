"""Blame: which operator of an exported graph is the first that is further from the truth than PyTorch's own."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluate.blame.case import Case
from evaluate.blame.culprit import find_culprit
from evaluate.blame.follow import Point, follow
from evaluate.blame.found import Blame, Cost, Culprit, Node
from evaluate.blame.lines import run_program
from evaluate.blame.pairs import Pair, tensors_of
from evaluate.blame.reduced import Widened, costs_of
from evaluate.blame.subject import choose_graph, golden_rows, pair_of, served_outputs
from evaluate.chance import drawing_nodes
from evaluate.eager import checked_eager
from evaluate.inputs import count, take
from export.factory import Factory
from serve.bundle import Bundle, BundleError
from serve.output_parity import output_parity
from serve.parity import NumericParity

_SAME = 0.05  # of the allowed error: how far two ways of computing the truth may be apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truths:
    """Outputs of the eager module on the rows, by output name: in float64 and in float32."""

    reference: dict[str, NDArray[Any]]
    eager: dict[str, NDArray[Any]]


def blame_graph(
    bundle: Bundle,
    *,
    graph: str | None = None,
    factory: Factory | None = None,
    module: nn.Module | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Blame:
    """Follow a graph on the bundle's golden inputs: the error of every value, and which operator makes outputs wrong.

    `evaluate.blame.chart.draw_blame` draws what is returned.

    Args:
        bundle: A checked bundle.
        graph: File of the graph; the first ONNX graph in float32 unless given, or else the TorchScript one.
        factory: What builds the network, where it is none of this project's own.
        module: The network itself, where it is at hand.
        on_step: Told what is being done.

    Raises:
        BundleError: there is no such graph, nothing to compare it with, or the reference cannot be followed.
    """
    entry = choose_graph(bundle, graph)
    on_step("building the eager module, in float32 and float64")
    eager = checked_eager(bundle, factory=factory, module=module)
    feeds = golden_rows(bundle, eager)
    reference, single = eager.run64(feeds), eager.run(feeds)
    finite = np.logical_and.reduce(
        [np.isfinite(v).reshape(len(v), -1).all(axis=1) for o in (reference, single) for v in o.values()]
    )
    if not finite.any():
        raise BundleError(
            f"PyTorch itself gives no finite outputs for the golden inputs of {bundle.path}; export it again"
        )
    feeds, reference, single = (take(arrays, finite) for arrays in (feeds, reference, single))
    on_step(f"pairing {entry.path} with PyTorch's operations")
    served = served_outputs(bundle, entry, feeds) if entry.format == "onnx" else None
    pair = pair_of(bundle, entry, eager.module, feeds)
    truths, name = Truths(reference=reference, eager=single), bundle.manifest.name
    if entry.precision is not None and entry.precision != "float32":
        return replace(cost_pair(pair, feeds, truths, name=name, on_step=on_step), precision=entry.precision)
    found = blame_pair(pair, feeds, truths, name=name, served=served, on_step=on_step)
    return _with_chance(found, bundle.read(entry), pair) if entry.format == "onnx" else found


def _with_chance(found: Blame, content: bytes, pair: Pair) -> Blame:
    """Put an operator that draws at random in place of those that only follow it."""
    nodes = drawing_nodes(content)
    if not nodes:
        return found
    first = nodes[0]
    node = first.name or first.output[0]
    step = next((step for step in pair.graph.steps if step.name == node), None)
    culprit = Culprit(
        fault="random",
        operator=first.op_type,
        node=node,
        pytorch="",
        path=step.path if step else "",
        source=step.source if step else "",
        value=first.output[0],
        error_before=None,
        error_after=None,
        share=None,
        detail="",
    )
    return replace(found, passed=False, output=found.output or "the graph draws at random", culprit=culprit, place=None)


def blame_pair(
    pair: Pair,
    feeds: Mapping[str, NDArray[Any]],
    truths: Truths,
    *,
    name: str,
    served: Mapping[str, NDArray[Any]] | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Blame:
    """Find the operator that makes a graph's outputs wrong.

    Args:
        pair: The graph and its reference.
        feeds: Arrays by input name.
        truths: What the module itself makes of them.
        name: Of the model.
        served: The graph's outputs as it is served, where it is rewritten for that.
        on_step: Told what is being done.

    Raises:
        BundleError: the operations of the reference are not those of the module.
    """
    program = pair.reference.program
    tensors = dict(zip(program.inputs, tensors_of(feeds), strict=True))
    found = pair.graph.values(pair.graph.outputs)
    written = {key: found[value] for key, value in zip(truths.reference, pair.graph.outputs, strict=True)}
    fault = _fault(judge_outputs(written, truths))
    outputs = run_program(program, tensors, wide=True)
    _check_same(name, outputs, truths)
    points = follow(program, pair.graph, pair.alignment, tensors, on_step=on_step)
    culprit = None
    if fault is not None:
        bounds = [(parity.rmse_bound, parity.max_bound) for parity in judge_outputs(truths.eager, truths).values()]
        case = Case(pair=pair, feeds=tensors, points=points, bounds=bounds, outputs=outputs)
        culprit = find_culprit(case, on_step=on_step)
    elif served is not None and (rewritten := _fault(judge_outputs(served, truths))) is not None:
        fault = f"{rewritten}; as it was written, the graph is right: what ONNX Runtime rewrites in it is not"
    return _put_together(pair, points, name=name, rows=count(feeds), fault=fault, culprit=culprit)


def cost_pair(
    pair: Pair,
    feeds: Mapping[str, NDArray[Any]],
    truths: Truths,
    *,
    name: str,
    on_step: Callable[[str], None] = lambda _: None,
) -> Blame:
    """Find what the operators of a graph of reduced precision cost; see `blame_pair`."""
    program, pair = pair.reference.program, replace(pair, graph=Widened(graph=pair.graph), differences=())
    tensors = dict(zip(program.inputs, tensors_of(feeds), strict=True))
    found = pair.graph.values(pair.graph.outputs)
    outputs = run_program(program, tensors, wide=True)
    _check_same(name, outputs, truths)
    points = follow(program, pair.graph, pair.alignment, tensors, on_step=on_step)
    written = [found[value] for value in pair.graph.outputs]
    costs = costs_of(pair, tensors, points, written=written, outputs=outputs, on_step=on_step)
    return _put_together(pair, points, name=name, rows=count(feeds), fault=None, culprit=None, costs=costs)


def judge_outputs(found: Mapping[str, NDArray[Any]], truths: Truths) -> dict[str, NumericParity]:
    """Apply the rule to every output."""
    return {
        name: output_parity(name, found, eager=truths.eager, reference=truths.reference) for name in truths.reference
    }


def _fault(judged: Mapping[str, NumericParity]) -> str | None:
    return next((f"{name}: {parity.sentence}" for name, parity in judged.items() if not parity.passed), None)


def _check_same(name: str, outputs: list[Tensor], truths: Truths) -> None:
    """Check that the operations that are followed are those of the module: a capture may be wrong, too.

    Raises:
        BundleError: they give other outputs.
    """
    bounds = judge_outputs(truths.eager, truths)
    for (output, expected), found in zip(truths.reference.items(), outputs, strict=True):
        apart = np.abs(found.numpy().astype(np.float64) - expected)
        if not (apart.shape == expected.shape and float(apart.max()) <= _SAME * bounds[output].max_bound):
            raise BundleError(
                f"{name}: torch captures the module as operations that give another {output} than the module itself "
                f"(by {float(apart.max()):.3g}), so no operator can be told; look for what forward decides by data"
            )


def _put_together(
    pair: Pair,
    points: list[Point],
    *,
    name: str,
    rows: int,
    fault: str | None,
    culprit: Culprit | None,
    costs: tuple[Cost, ...] = (),
) -> Blame:
    paired = {place for places in pair.alignment.steps_of.values() for place in places}
    place = next((i for i, p in enumerate(points) if culprit is not None and p.value == culprit.value), None)
    if culprit is not None and place is None and points:
        place = len(points) - 1
    return Blame(
        name=name,
        graph=pair.graph.name,
        rows=rows,
        passed=fault is None,
        output=fault,
        culprit=culprit,
        weights=pair.differences,
        nodes=tuple(_node(point, pair) for point in points),
        place=place,
        unpaired=tuple(step.name for index, step in enumerate(pair.graph.steps) if index not in paired),
        costs=costs,
    )


def _node(point: Point, pair: Pair) -> Node:
    step = pair.graph.steps[pair.alignment.steps_of[point.line.name][-1]]
    finite = point.whole.fault is None
    return Node(
        operator=step.operator,
        node=step.name,
        path=point.line.path,
        error=point.error if finite else None,
        eager_error=point.eager_error,
        times_eager=point.times_eager if finite else None,
        added=point.own.ratio if math.isfinite(point.own.ratio) else None,
    )
