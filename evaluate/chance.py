"""What no right graph does: draw at random, or change itself as it runs."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
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
    constants = _constants(model)
    version = max((one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), default=1)
    return [
        node
        for node in all_nodes(model)
        if node.op_type in RANDOM_OPERATORS
        or (node.op_type == "Dropout" and version >= _TRAINS_FROM and _drops(node, constants))
    ]


def _drops(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether a Dropout may draw: it is told to, or nobody knows."""
    names = [*node.input, "", ""]
    trains = bool(names[2]) and bool(np.any(constants.get(names[2], np.True_)))
    return trains and bool(np.any(constants.get(names[1], np.float32(0.5))))


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Return the small constants of a model and of the graphs inside it, by name."""
    found = {
        tensor.name: tensor
        for graph in all_graphs(model)
        for tensor in graph.initializer
        if tensor.data_location != onnx.TensorProto.EXTERNAL and len(tensor.dims) == 0
    }
    for node in all_nodes(model):
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = attribute.t
    return {name: np.asarray(numpy_helper.to_array(tensor)) for name, tensor in found.items()}


def state_digest(module: nn.Module) -> str:
    """Return a digest of everything that a module keeps."""
    digest = hashlib.sha256()
    for tensor in (*module.parameters(), *module.buffers()):
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
