"""Walks along eager's gradients, to where an activation, an output or a margin is at an end that no sample reaches."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluate.domain import Domain
from evaluate.inputs import Arrays, count
from export.first_line import first_line
from export.shared_weights import copy_sharing_weights

STEPS = 10
# of the whole range of a value, so that a walk can cross it
_STEP = 0.15
# up to which share rows follow a value inside, one output, and the margin; the others, the size of all outputs
_INSIDE, _OUTPUT, _MARGIN = 0.6, 0.8, 0.9
_HALF = 0.5


def walk(
    module: nn.Module,
    rows: Arrays,
    domain: Domain,
    *,
    bytes_too: bool,
    rng: np.random.Generator,
    on_stop: Callable[[str], None] = lambda _: None,
) -> list[dict[str, NDArray[Any]]]:
    """Lead every row where one value of the network rises or falls, and return what is met on the way.

    What each row follows is drawn: a value inside the network, as one may saturate, be clipped or decide a branch as it
    does for no sample; an output; the size of all outputs, which the error grows with; or the margin, to the boundary.

    Args:
        module: The eager module, in float32, on the CPU; it is not changed.
        rows: Where the walks start, in the order in which the module takes its inputs.
        domain: What values are allowed.
        bytes_too: Whether uint8 is followed too, as of images, which the module turns into floats.
        rng: Decides what is followed.
        on_stop: Told why, where there is no way on.

    Returns:
        The rows after each step; fewer or none where the network has no gradients.
    """
    followed = {name for name, values in rows.items() if values.dtype.kind == "f" or bytes_too}
    if not followed:
        on_stop("no input holds floating-point numbers")
        return []
    # what it kept of a run without gradients can have none, and what it keeps of this one is not to stay
    walked = copy_sharing_weights(module)
    # four numbers a row: what is followed, upwards or downwards, in which layer, and which of its values
    drawn = rng.random((count(rows), 4))
    met: list[dict[str, NDArray[Any]]] = []
    now = dict(rows)
    for _ in range(STEPS):
        try:
            slopes = _slopes(walked, now, followed, drawn)
        except (RuntimeError, TypeError, IndexError, ValueError) as error:  # of operations that have none, say
            on_stop(first_line(error))
            return met
        now = {
            name: _stepped(values, slopes[name], domain, name, rng) if name in followed else values
            for name, values in now.items()
        }
        met.append(now)
    return met


def _stepped(
    values: NDArray[Any], slope: NDArray[Any], domain: Domain, name: str, rng: np.random.Generator
) -> NDArray[Any]:
    area = domain[name]
    direction = np.sign(np.nan_to_num(slope))
    lost = ~direction.reshape(len(values), -1).any(axis=1)
    direction[lost] = rng.choice([-1.0, 1.0], size=direction[lost].shape)
    # what stands for one thing or another, as a category does, is not moved towards the next one
    moved = values + np.where(area.whole & (values.dtype.kind == "f"), 0.0, _STEP * (area.high - area.low) * direction)
    return area.fit(moved, values.dtype)


def _slopes(
    module: nn.Module, rows: Arrays, followed: set[str], drawn: NDArray[np.float64]
) -> dict[str, NDArray[np.float32]]:
    """Return the gradient of what each row follows, as to the inputs that are followed."""
    inputs = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in rows.items()}
    inputs |= {name: inputs[name].float().requires_grad_() for name in followed}
    with torch.enable_grad(), warnings.catch_warnings(), _layers_of(module) as layers:
        warnings.simplefilter("ignore")
        outputs = module(*inputs.values())
        values = [layer for layer in layers if len(layer) == len(drawn) and layer.requires_grad]
        first = outputs[0].reshape(len(drawn), -1)
        goal = torch.stack([_goal(row, first[row], values, drawn[row]) for row in range(len(drawn))]).sum()
        names = sorted(followed)
        found = torch.autograd.grad(goal, [inputs[name] for name in names], allow_unused=True)
    slopes = zip(names, found, strict=True)
    return {name: np.zeros(rows[name].shape) if slope is None else slope.numpy() for name, slope in slopes}


def _goal(row: int, outputs: Tensor, layers: list[Tensor], drawn: NDArray[np.float64]) -> Tensor:
    """Return the one number that a row follows."""
    what, sign, layer, place = drawn
    up = 1.0 if sign < _HALF else -1.0
    if what < _INSIDE and layers:
        values = layers[int(layer * len(layers))][row].reshape(-1)
        return up * values[int(place * len(values))]
    if what < _OUTPUT:
        return up * outputs[int(place * len(outputs))]
    if what < _MARGIN and len(outputs) > 1:
        best = outputs.topk(2).values
        return best[1] - best[0]
    return outputs.square().sum()


@contextmanager
def _layers_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what every part without parts gives, in the order in which they run."""
    layers: list[Tensor] = []

    def note(_: nn.Module, __: object, result: object) -> None:
        if isinstance(result, Tensor) and result.is_floating_point() and result.ndim > 1:
            layers.append(result)

    handles = [
        part.register_forward_hook(note)
        for part in module.modules()
        if not isinstance(part, torch.jit.ScriptModule) and not any(True for _ in part.children())
    ]
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()
