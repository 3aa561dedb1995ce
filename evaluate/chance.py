"""What no right graph does: draw at random, or change itself as it runs."""

import hashlib

import onnx
import torch
from torch import nn

from evaluate.reference_graph import all_nodes

RANDOM_OPERATORS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def drawn_at_random(content: bytes) -> str | None:
    """Return the sentence that says which operator of an ONNX graph draws random numbers, or None where none does."""
    try:
        model = onnx.load_from_string(content)
    except Exception:  # noqa: BLE001 - what cannot be read is told by who runs it
        return None
    found = sorted({node.op_type for node in all_nodes(model) if node.op_type in RANDOM_OPERATORS})
    if not found:
        return None
    return f"its operator {found[0]} draws random numbers, but a graph must answer alike each time; export it again"


def state_digest(module: nn.Module) -> str:
    """Return a digest of everything that a module keeps."""
    digest = hashlib.sha256()
    for tensor in (*module.parameters(), *module.buffers()):
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
