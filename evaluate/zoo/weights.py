"""Weights of a torchvision architecture from a seed, such that every part of it shows in its outputs.

    python -m evaluate.zoo.weights ARCHITECTURE FILE SIDE SEED

Nothing is downloaded. As torchvision initialises them, many networks prove little: ViT's and MaxViT's heads are all
zero, ConvNeXt's blocks count for a millionth, biases are 0 and scales 1, so that a lost one is not missed. What is
constant is drawn anew here, and batch normalisation measures its statistics on pictures, as training would.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn

from evaluate.zoo.pictures import draw_pictures
from export.work import flops_per_row

_PICTURES = 32  # with 8, a RegNet was chaotic for pictures unlike them
_MORE_PICTURES = {"efficientnet_v2_m": 96, "efficientnet_v2_l": 96}  # and these, with 32: logits were off by 0.3
_SIDE = 128
_FIXED_SIDE = 224
# positions are learnt, or windows must fit, or the last pooling would have to enlarge
_FIXED = ("vit", "maxvit", "vgg", "alexnet")
_BIAS = 0.02
_SCALE = 0.1
_LAYER_SCALE = (0.1, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many numbers a network learns, and the operations of one row."""

    parameters: int
    flops: int


def architectures() -> tuple[str, ...]:
    """Return the names of all of torchvision's classification architectures."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def smallest_first(names: Sequence[str]) -> tuple[str, ...]:
    """Sort architectures by the operations that torchvision states for them."""
    weights = torchvision.models.get_model_weights
    return tuple(sorted(names, key=lambda name: weights(name).DEFAULT.meta["_ops"]))


def side_of(name: str) -> int:
    """Return the pixels of the pictures' sides: 224 where an architecture is made for that, else less, for speed."""
    return _FIXED_SIDE if name.startswith(_FIXED) else _SIDE


def pictures_of(name: str) -> int:
    """Return on how many pictures the batch normalisation of an architecture measures its statistics."""
    return _MORE_PICTURES.get(name, _PICTURES)


def build(name: str, *, side: int, seed: int) -> nn.Module:
    """Build an architecture whose outputs vary.

    Args:
        name: One of `architectures`.
        side: Pixels of the pictures' sides.
        seed: Decides all weights.

    Returns:
        The network in evaluation mode.
    """
    torch.manual_seed(seed)
    network: nn.Module = torchvision.models.get_model(name, weights=None)
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if parameter.numel() > 1 and float(parameter.min()) == float(parameter.max()):
                _draw(parameter_name, parameter)
    _measure_statistics(network, draw_pictures(pictures_of(name), side=side, seed=seed))
    return network.eval()


def _draw(name: str, parameter: Tensor) -> None:
    """Draw what was constant."""
    value = float(parameter.flatten()[0])
    if name.endswith("layer_scale"):
        parameter.uniform_(*_LAYER_SCALE)
    elif parameter.ndim > 1:
        nn.init.normal_(parameter, std=1 / math.sqrt(parameter[0].numel()))
    elif value:
        parameter.mul_(1 + _SCALE * torch.randn_like(parameter))
    else:
        nn.init.normal_(parameter, std=_BIAS)


def _measure_statistics(network: nn.Module, pictures: np.ndarray) -> None:
    """Have batch normalisation take its mean and variance from pictures; with 0 and 1, deep networks overflow."""
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    if not norms:
        return
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        network(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def main(name: str, file: str, side: str, seed: str) -> None:
    """Write the weights of an architecture, and print its size as JSON."""
    network = build(name, side=int(side), seed=int(seed))
    torch.save(network.state_dict(), Path(file))
    size = Size(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        flops=flops_per_row(network, (torch.zeros(1, 3, int(side), int(side)),)),
    )
    sys.stdout.write(msgspec.json.encode(size).decode() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
