"""Which parameters a module uses, but could not have learnt."""

import warnings

import torch
from torch import Tensor, nn

from export.observe import Outputs


def unreached_parameters(module: nn.Module, inputs: Outputs) -> tuple[str, ...]:
    """Name the parameters that change the outputs, but that no gradient reaches; none where torch has no gradients.

    Args:
        module: Changed in place: give a copy. The memory of its parameters is not written to.
        inputs: One batch.
    """
    parameters = {name: tensor for name, tensor in module.named_parameters() if tensor.is_floating_point()}
    reached = set[int]()

    def note(parameter: Tensor) -> None:
        reached.add(id(parameter))
        parameter.grad = None  # at once: all of them together would be as large as the weights

    for parameter in parameters.values():
        parameter.requires_grad_().register_post_accumulate_grad_hook(note)  # type: ignore[no-untyped-call]
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a network does with its gradients; here none are used
            outputs: Outputs = module(*inputs)
            sums = [output.sum() for output in outputs if output.requires_grad]
            if sums:
                sum(sums[1:], sums[0]).backward()  # type: ignore[no-untyped-call]
    except RuntimeError:  # an operation without a gradient; what cannot be trained is no fault of an export
        return ()
    expected = [output.detach() for output in outputs]
    silent = {name: parameter for name, parameter in parameters.items() if id(parameter) not in reached}
    return tuple(name for name, parameter in silent.items() if _matters(module, inputs, expected, parameter))


def _matters(module: nn.Module, inputs: Outputs, expected: list[Tensor], parameter: Tensor) -> bool:
    """Return whether other values of a parameter give other outputs."""
    kept = parameter.data
    try:
        parameter.data = kept * 1.5 + 0.25
        with torch.no_grad():
            outputs: Outputs = module(*inputs)
    finally:
        parameter.data = kept
    return not all(torch.equal(one, other) for one, other in zip(expected, outputs, strict=True))
