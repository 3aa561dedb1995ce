"""A graph under test beside its reference: the right module, captured anew from the same weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluate.blame.align import Alignment, align, borrow_keys
from evaluate.blame.from_program import lines_of_program
from evaluate.blame.from_trace import TraceGraph, trace_module
from evaluate.blame.lines import Program
from evaluate.blame.onnx_steps import OnnxGraph, steps_of, weights_of
from evaluate.blame.steps import Graph, Step
from evaluate.blame.weights import WeightDifference, Weights, compare_onnx_weights, compare_states
from export.to_onnx import call_exporter
from serve.bundle import BundleError, TensorSpec

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """A module's operations, and what the steps of a right graph look like.

    Attributes:
        program: The operations.
        twins: Steps of a right graph, by the operation that they are.
        among: Operations that a right graph has steps for.
        weights: Weights and constants of the right graph, where it is ONNX.
        state: The module's own weights.
        known: All steps of the right graph, where it is ONNX.
    """

    program: Program
    twins: Mapping[str, Sequence[Step]]
    among: frozenset[str]
    weights: Weights
    state: Weights
    known: Sequence[Step] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A graph under test and its reference, on the same inputs.

    Attributes:
        reference: What it should be.
        graph: The graph, as it was written.
        alignment: Which value is which.
        weights: Weights and constants of the graph, where it is ONNX.
        differences: Weights that are not those of the reference.
    """

    reference: Reference
    graph: Graph
    alignment: Alignment
    weights: Weights = field(default_factory=dict)
    differences: tuple[WeightDifference, ...] = ()


def tensors_of(feeds: Feeds) -> tuple[Tensor, ...]:
    """Return inputs as tensors."""
    return tuple(torch.from_numpy(np.ascontiguousarray(values)) for values in feeds.values())


def onnx_reference(
    module: nn.Module, feeds: Feeds, *, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> Reference:
    """Capture a module as its export to ONNX does.

    Raises:
        ExportError: it cannot be exported.
    """
    examples = tuple(tensor[[0, -1]] for tensor in tensors_of(feeds))
    return reference_of(call_exporter(module, examples, inputs=inputs, outputs=outputs, opset=None), module)


def reference_of(exported: torch.onnx.ONNXProgram, module: nn.Module) -> Reference:
    """Return what an export of the right module says."""
    if exported.exported_program is None:
        raise BundleError(
            f"torch {torch.__version__} exports to ONNX without saying from what; use torch 2.11 or later"
        )
    fresh = onnx_ir.to_proto(exported.model)
    known = steps_of(fresh)
    twins: dict[str, list[Step]] = {}
    for step in known:
        twins.setdefault(step.group, []).append(step)
    return Reference(
        program=lines_of_program(exported.exported_program),
        twins=twins,
        among=frozenset(twins),
        weights=weights_of(fresh, {}),
        state=state_of(module),
        known=known,
    )


def pair_onnx(
    reference: Reference,
    content: bytes,
    feeds: Feeds,
    *,
    name: str,
    outputs: tuple[str, ...],
    files: Mapping[str, bytes] | None = None,
) -> Pair:
    """Pair an ONNX graph with its reference.

    Args:
        reference: Of the right module.
        content: The graph's file.
        feeds: Arrays by input name.
        name: How messages call the graph.
        outputs: Names of its outputs.
        files: Contents of the files beside it that hold its weights, by name.

    Raises:
        BundleError: ONNX Runtime does not run it.
    """
    model = onnx.load_from_string(content)
    graph = OnnxGraph(model, name=name, feeds=feeds, outputs=outputs, weights=files or {})
    graph.steps = borrow_keys(graph.steps, reference.known)
    alignment = align(graph.steps, reference.program, tuple(feeds), among=reference.among)
    weights = weights_of(model, files or {})
    differences = compare_onnx_weights(
        graph.steps,
        alignment,
        reference.twins,
        graph=weights,
        expected=reference.weights,
        state=reference.state,
    )
    return Pair(reference=reference, graph=graph, alignment=alignment, weights=weights, differences=differences)


def trace_reference(module: nn.Module, feeds: Feeds) -> Reference:
    """Trace a module as its export to TorchScript does."""
    traced = trace_module(module, tensors_of(feeds))
    right = TraceGraph(traced, feeds, name="the module")
    return Reference(
        program=right.program,
        twins={step.group: [step] for step in right.steps},
        among=frozenset(step.group for step in right.steps),
        weights={},
        state=state_of(module),
    )


def pair_trace(reference: Reference, graph: torch.jit.ScriptModule, feeds: Feeds, *, name: str) -> Pair:
    """Pair a TorchScript graph with its reference."""
    found = TraceGraph(graph, feeds, name=name)
    alignment = align(found.steps, reference.program, tuple(feeds), among=reference.among)
    differences = compare_states(state_of(graph), reference.state)
    return Pair(reference=reference, graph=found, alignment=alignment, differences=differences)


def state_of(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return a module's weights by name."""
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}
