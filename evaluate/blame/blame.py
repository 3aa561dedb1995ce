"""Blame: which operator of an exported graph is the first that is further from the truth than PyTorch's own."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluate.blame.culprit import Case, Culprit, find_culprit
from evaluate.blame.follow import Point, follow
from evaluate.blame.lines import run_program
from evaluate.blame.pairs import Pair, onnx_reference, pair_onnx, pair_trace, tensors_of, trace_reference
from evaluate.blame.weights import WeightDifference
from evaluate.eager import Eager, eager_of
from evaluate.inputs import count, take
from evaluate.source import golden_of
from export.errors import ExportError
from export.factory import Factory
from export.first_line import first_line
from export.to_torchscript import load_torchscript
from export.work import flops_per_row
from serve.bundle import Bundle, BundleError, FileEntry
from serve.onnx_runner import OnnxRunner
from serve.parity import NumericParity, output_parity

_FLOPS = 2e9  # of all rows together: each run of the network counts, and there are a dozen
_MOST_ROWS, _LEAST_ROWS = 32, 2
_SAME = 0.05  # of the allowed error: how far two ways of computing the truth may be apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value along the graph.

    Attributes:
        operator: Type of the node.
        node: Its name.
        path: Of the module that it comes from.
        error: Of the value, root mean square, as a share of the value's own size; None where it has no number.
        eager_error: The same of eager's.
        times_eager: The error as a multiple of eager's, or of one unit in the last place.
        added: What this node adds, as a multiple of what the rule allows it; None where it has no number.
    """

    operator: str
    node: str
    path: str
    error: float | None
    eager_error: float
    times_eager: float | None
    added: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """What was found.

    Attributes:
        name: Of the model.
        graph: File of the graph.
        rows: Golden rows that it was run on.
        passed: Whether every output keeps the rule.
        output: What is wrong with the outputs, or None.
        culprit: The operator to blame, or None.
        weights: Tensors of the graph that are not those of state_dict.pt.
        nodes: Every value that was compared, in order.
        place: Where among the nodes the culprit shows, or None.
        unpaired: Nodes that are no operation of PyTorch's.
    """

    name: str
    graph: str
    rows: int
    passed: bool
    output: str | None
    culprit: Culprit | None
    weights: tuple[WeightDifference, ...]
    nodes: tuple[Node, ...]
    place: int | None
    unpaired: tuple[str, ...]


def blame_graph(
    bundle: Bundle,
    *,
    graph: str | None = None,
    factory: Factory | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Blame:
    """Find the operator that makes a graph's outputs wrong, on the bundle's golden inputs.

    Args:
        bundle: A checked bundle.
        graph: File of the graph; the first ONNX graph in float32 unless given, or else the TorchScript one.
        factory: What builds the network, where it is none of this project's own.
        on_step: Told what is being done.

    Raises:
        BundleError: there is no such graph, nothing to compare it with, or the reference cannot be followed.
    """
    entry = choose_graph(bundle, graph)
    on_step("building the eager module, in float32 and float64")
    eager, _ = eager_of(bundle, factory=factory)
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
    pair = _pair(bundle, entry, eager.module, feeds)
    served = _served(bundle, entry, feeds) if entry.format == "onnx" else None
    return blame_pair(
        pair,
        feeds,
        Truths(reference=reference, eager=single),
        name=bundle.manifest.name,
        served=served,
        on_step=on_step,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truths:
    """Outputs of the eager module on the rows, by output name: in float64 and in float32."""

    reference: dict[str, NDArray[Any]]
    eager: dict[str, NDArray[Any]]


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
    paired = {place for places in pair.alignment.steps_of.values() for place in places}
    place = next((i for i, p in enumerate(points) if culprit is not None and p.value == culprit.value), None)
    if culprit is not None and place is None and points:
        place = len(points) - 1
    return Blame(
        name=name,
        graph=pair.graph.name,
        rows=count(feeds),
        passed=fault is None,
        output=fault,
        culprit=culprit,
        weights=pair.differences,
        nodes=tuple(_node(point, pair) for point in points),
        place=place,
        unpaired=tuple(step.name for index, step in enumerate(pair.graph.steps) if index not in paired),
    )


def choose_graph(bundle: Bundle, name: str | None) -> FileEntry:
    """Return the graph to blame.

    Raises:
        BundleError: the bundle has none, or none of that name; or it is of reduced precision, or of no format for this.
    """
    graphs = [entry for entry in bundle.manifest.files if entry.format in {"onnx", "torchscript", "exported-program"}]
    if name is None:
        fit = [entry for entry in graphs if entry.format != "exported-program" and entry.precision in {None, "float32"}]
        fit.sort(key=lambda entry: entry.format != "onnx")
        if not fit:
            raise BundleError(
                f"{bundle.path} holds no ONNX or TorchScript graph in float32, but blame reads those; "
                "export it with --formats onnx"
            )
        return fit[0]
    entry = next((entry for entry in graphs if entry.path == name), None)
    if entry is None:
        found = ", ".join(entry.path for entry in graphs) or "none"
        raise BundleError(f"{bundle.path} holds no graph {name!r}; its graphs are {found}")
    if entry.format == "exported-program":
        raise BundleError(
            f"{name} is an exported program, but blame reads ONNX and TorchScript; give --graph with one of those"
        )
    if entry.precision not in {None, "float32"}:
        raise BundleError(
            f"{name} computes in {entry.precision}, so all its operators differ from PyTorch's float32; "
            "`python -m evaluate parity` judges what it decides"
        )
    return entry


def golden_rows(bundle: Bundle, eager: Eager) -> dict[str, NDArray[Any]]:
    """Return as many of the golden inputs as are affordable, spread over all of them."""
    golden = golden_of(bundle)
    one = take(golden.inputs, slice(0, 1))
    work = flops_per_row(eager.module, tuple(torch.from_numpy(one[spec.name]) for spec in bundle.manifest.inputs))
    rows = int(np.clip(_FLOPS // max(work, 1), _LEAST_ROWS, _MOST_ROWS))
    if not bundle.manifest.row_independent:
        rows = 1
    chosen = np.unique(np.linspace(0, golden.rows - 1, min(rows, golden.rows)).round().astype(np.int64))
    return take({spec.name: golden.inputs[spec.name] for spec in bundle.manifest.inputs}, chosen)


def judge_outputs(found: Mapping[str, NDArray[Any]], truths: Truths) -> dict[str, NumericParity]:
    """Apply the rule to every output."""
    return {
        name: output_parity(name, found, eager=truths.eager, reference=truths.reference) for name in truths.reference
    }


def _fault(judged: Mapping[str, NumericParity]) -> str | None:
    return next((f"{name}: {parity.sentence}" for name, parity in judged.items() if not parity.passed), None)


def _pair(bundle: Bundle, entry: FileEntry, module: nn.Module, feeds: Mapping[str, NDArray[Any]]) -> Pair:
    manifest = bundle.manifest
    if entry.format != "onnx":
        try:
            loaded = load_torchscript(bundle.read(entry))
        except RuntimeError as error:
            raise BundleError(
                f"{entry.path} cannot be loaded by torch {torch.__version__} ({first_line(error)}); export it again"
            ) from error
        return pair_trace(trace_reference(module, feeds), loaded, feeds, name=entry.path)
    try:
        reference = onnx_reference(module, feeds, inputs=manifest.inputs, outputs=manifest.outputs)
    except ExportError as error:
        raise BundleError(f"{bundle.path} cannot be followed operator by operator: {error}") from error
    return pair_onnx(
        reference,
        bundle.read(entry),
        feeds,
        name=entry.path,
        outputs=tuple(spec.name for spec in manifest.outputs),
        files=bundle.read_weights(entry),
    )


def _served(bundle: Bundle, entry: FileEntry, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    runner = OnnxRunner(
        bundle.read(entry),
        name=entry.path,
        inputs=bundle.manifest.inputs,
        outputs=bundle.manifest.outputs,
        provider="CPUExecutionProvider",
        weights=bundle.read_weights(entry),
    )
    return runner.run(feeds)


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
