"""Whether the weights that a graph holds are the model's, bit for bit: what no sample reads is told by no output."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.folded import folded_tensors
from evaluate.graph_verdict import GraphVerdict, HeldWeights
from evaluate.initializers import read_initializers
from evaluate.inputs import Arrays
from export.held_tensors import bare_name
from export.to_exported_program import load_exported_program
from export.to_torchscript import load_torchscript
from serve.bundle import Bundle, FileEntry

_INPUT = "input_module."  # of a Deployable: mean and standard deviation, above all


def held_weights(bundle: Bundle, entry: FileEntry, module: nn.Module, inputs: Arrays) -> HeldWeights | None:
    """Compare the tensors of a graph with those of the same name in a module.

    Exporters keep names, but not always values: see `evaluate.folded`.

    Args:
        bundle: A checked bundle.
        entry: One of its graphs, of full precision.
        module: What it was exported from.
        inputs: A row of each input, or some.

    Returns:
        What was found, or None where the graph cannot be read.
    """
    try:
        state, found = _model_state(module), _tensors_of(bundle, entry)
    except Exception:  # noqa: BLE001 - of damaged bytes, readers raise whatever their parts do
        return None
    common = {name: values for name, values in found.items() if name in state}
    other = {name: values for name, values in common.items() if not _same(values, state[name])}
    folded: set[str] = set()
    if other and entry.format == "onnx":
        folded = folded_tensors(other, state, module, bundle.manifest, inputs)
    return HeldWeights(
        graph=entry.path,
        tensors=len(state),
        equal=len(common) - len(other),
        folded=len(folded),
        differing=tuple(_difference(name, other[name], state[name]) for name in other if name not in folded),
    )


def with_weights(verdict: GraphVerdict, held: HeldWeights | None) -> GraphVerdict:
    """Return the verdict on a graph, which fails where it holds other weights than the model's."""
    if held is None or not held.differing:
        return verdict
    first, others = held.differing[0], len(held.differing) - 1
    more = f", and so do {others} more tensors" if others > 1 else ", and so does another tensor" if others else ""
    reason = f"{first}{more}" if verdict.reason is None else f"{first}{more}; {verdict.reason}"
    return replace(verdict, verdict="fail", reason=reason)


def _model_state(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return what a module was given: what its network only keeps while it runs is not saved, and no weight."""
    saved = module.state_dict(keep_vars=True)
    return {name: values for name, values in _state(module).items() if name in saved or name.startswith(_INPUT)}


def _state(module: nn.Module) -> dict[str, NDArray[Any]]:
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: tensor.detach().numpy() for name, tensor in tensors}


def _tensors_of(bundle: Bundle, entry: FileEntry) -> dict[str, NDArray[Any]]:
    content = bundle.read(entry)
    if entry.format == "onnx":
        return read_initializers(onnx.load_model_from_string(content), bundle.read_weights(entry))
    load = load_torchscript if entry.format == "torchscript" else load_exported_program
    with torch.no_grad():
        return _state(cast(nn.Module, load(content)))


def _same(values: NDArray[Any], right: NDArray[Any]) -> bool:
    alike = values.shape == right.shape and values.dtype == right.dtype
    return alike and values.tobytes() == right.tobytes()


def _difference(name: str, values: NDArray[Any], right: NDArray[Any]) -> str:
    model = f"{bare_name(name)} differs from the model's"
    if values.shape != right.shape or values.dtype != right.dtype:
        is_, should = (f"{one.dtype}{list(one.shape)}" for one in (values, right))
        return f"{model}: it is {is_}, and not {should}"
    found: NDArray[np.float64] = values.astype(np.float64)
    expected: NDArray[np.float64] = right.astype(np.float64)
    unlike = int((~((values == right) | (np.isnan(found) & np.isnan(expected)))).sum())
    with np.errstate(invalid="ignore"):
        most = float(np.nanmax(np.abs(found - expected), initial=0.0))
    return f"{model} in {unlike} of {right.size} values, by at most {most:.3g}"
