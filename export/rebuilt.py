"""Whether a network that its factory builds anew, with the weights loaded, is the same function."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from export.deployable import Deployable
from export.draft import Draft
from export.equality import all_equal, equal
from export.errors import ExportError
from export.held_tensors import some
from export.observe import Outputs
from export.weights import with_versions

_SEED = 71_993  # of what a factory draws: weights that are loaded afterwards cover it, constants do not


def unsaved(loose: tuple[str, ...]) -> tuple[str, ...]:
    """Say which tensors a bundle's weights lack."""
    if not loose:
        return ()
    return (f"{some(loose)} stands outside parameters and buffers, so state_dict.pt lacks it; use register_buffer",)


def check_rebuilt(draft: Draft, inputs: Outputs, outputs: Outputs, *, loose: tuple[str, ...]) -> tuple[str, ...]:
    """Build the network anew, load the weights, and check that it is the same function."""
    network = _build(draft.build, draft.weights) if draft.build else nn.Identity()
    module = Deployable(draft.module.get_submodule("input_module"), network, draft.task).eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        again: Outputs = module(*(tensor.clone() for tensor in inputs))
    if all_equal(outputs, again):
        return tuple(note + ", or compute it in __init__ as now" for note in unsaved(loose))
    own = dict(draft.module.named_buffers())
    constants = [
        *loose,
        *(name for name, buffer in module.named_buffers() if name not in own or not equal(own[name], buffer)),
    ]
    named = (
        f"{some(constants)} {'is' if len(constants) == 1 else 'are'} not among them" if constants else "some constant"
    )
    raise ExportError(
        f"{type(network).__name__} built anew, with the same weights loaded, gives other outputs: {named}, or its "
        "factory builds something else each time; register constants with register_buffer, and build without chance"
    )


def _build(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = build()
    own = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if {name: tuple(tensor.shape) for name, tensor in own.items()} != shapes:
        parts = [name for name in {**own, **weights} if name not in own or tuple(own[name].shape) != shapes.get(name)]
        raise ExportError(
            f"{type(network).__name__} built anew is another network: {some(parts)} is not the same; its factory "
            "builds something else each time, so fix what it draws or counts, or pass it as an argument"
        )
    network.load_state_dict(with_versions(network, weights))
    return network
