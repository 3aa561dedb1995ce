"""What no right graph does: draw at random, or change itself as it runs."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from evaluate.reference_graph import all_graphs, all_nodes

RANDOM_OPERATORS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


_TRAINS_FROM = 12  # version of the operator set from which Dropout says whether it draws


def drawn_at_random(content: bytes) -> str | None:
    """Return the sentence that says which operator of an ONNX graph draws random numbers, or None where none does."""
    found = sorted({node.op_type for node in drawing_nodes(content)})
    if not found:
        return None
    return f"its operator {found[0]} draws random numbers, but a graph must answer alike each time; export it again"


def drawing_nodes(content: bytes) -> list[onnx.NodeProto]:
    """Return the nodes of an ONNX graph that draw random numbers; of a graph that cannot be read, none.

    Where ONNX Runtime may rewrite a graph, it leaves out a Dropout even if that is told to draw; elsewhere it draws.
    """
    try:
        model = onnx.load_from_string(content)
    except Exception:  # noqa: BLE001 - what cannot be read is told by who runs it
        return []
    own = [model.opset_import, *(function.opset_import for function in model.functions)]
    version = max((one.version for imports in own for one in imports if one.domain in {"", "ai.onnx"}), default=1)
    nodes = list(all_nodes(model))
    dropouts = [node for node in nodes if node.op_type == "Dropout" and version >= _TRAINS_FROM]
    constants = _constants(model, {name for node in dropouts for name in node.input[1:]})
    told = [node for node in dropouts if _drops(node, constants)]
    return [node for node in nodes if node.op_type in RANDOM_OPERATORS or node in told]


def _drops(node: onnx.NodeProto, constants: Mapping[str, Sequence[float]]) -> bool:
    """Return whether a Dropout is told to draw, by a constant; what is computed is told by the outputs."""
    _, ratio, trains = (*node.input, "", "", "")[:3]
    return any(constants.get(trains, ())) and any(constants.get(ratio, (0.5,)))


def _constants(model: onnx.ModelProto, names: Collection[str]) -> dict[str, list[float]]:
    """Return the values of single numbers by their name, of which branches and functions may have several."""
    tensors = [(tensor.name, tensor) for graph in all_graphs(model) for tensor in graph.initializer]
    for node in all_nodes(model):
        if node.op_type == "Constant":
            tensors += [(node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value"]
    found: dict[str, list[float]] = {}
    for name, tensor in tensors:
        if name in names and tensor.data_location != onnx.TensorProto.EXTERNAL and all(n == 1 for n in tensor.dims):
            with suppress(TypeError, ValueError):  # of damaged bytes; who runs the graph tells
                found.setdefault(name, []).append(float(numpy_helper.to_array(tensor).item()))
    return found


def state_digest(module: nn.Module) -> str:
    """Return a digest of everything that a module keeps."""
    digest = hashlib.sha256()
    for tensor in (*module.parameters(), *module.buffers()):
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
