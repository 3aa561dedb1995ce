"""Faults that an export may plant: a module is spoilt, and takes the place of a bundle's graph."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from evaluate.resealed import replace_file
from export.deployable import rebuild
from export.factory import Factory
from export.to_exported_program import export_program
from export.to_onnx import export_onnx
from export.to_torchscript import export_torchscript
from serve.bundle import read_bundle


def plant(
    bundle: Path, graph: str, spoil: Callable[[nn.Module], None], tmp_path: Path, *, factory: Factory | None = None
) -> None:
    """Export a spoilt module in place of one graph."""
    checked = read_bundle(bundle)
    module = rebuild(checked, factory=factory)
    spoil(module)
    inputs, outputs = checked.manifest.inputs, checked.manifest.outputs
    examples = tuple(torch.ones(2, *spec.shape[1:], dtype=getattr(torch, spec.dtype)) for spec in inputs)
    path = tmp_path / graph
    if graph == "graph.onnx":
        export_onnx(module, examples, path, inputs=inputs, outputs=outputs)
    elif graph == "graph.pt2":
        export_program(module, examples, path, outputs=outputs)
    else:
        export_torchscript(module, examples, path, outputs=outputs)
    replace_file(bundle, graph, path.read_bytes())


def scale_one_weight(module: nn.Module) -> None:
    """Make the largest weight of the last layer one per cent larger."""
    weight = last_layer(module).weight
    with torch.no_grad():
        weight.view(-1)[weight.abs().argmax()] *= 1.01


def zero_one_bias(module: nn.Module) -> None:
    bias = last_layer(module).bias
    with torch.no_grad():
        bias[bias.abs().argmax()] = 0


def leave_dropout_on(module: nn.Module) -> None:
    module.train()


def swap_outputs(module: nn.Module) -> None:
    """Let the first class and the last change places inside the graph: the rows of the weights."""
    layer = last_layer(module)
    order = torch.arange(layer.out_features)
    order[[0, -1]] = order[[-1, 0]]
    with torch.no_grad():
        layer.weight.copy_(layer.weight[order].clone())
        layer.bias.copy_(layer.bias[order].clone())


def last_layer(module: nn.Module) -> nn.Linear:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
