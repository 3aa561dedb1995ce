"""Networks that torchvision has weights for: their own preprocessing and labels."""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torchvision.models import get_model_weights  # type: ignore[import-untyped]
from torchvision.transforms._presets import ImageClassification  # type: ignore[import-untyped]

from export.errors import ExportError
from export.factory import Args, Factory
from export.weights import Weights

# What torchvision sets itself where it loads its weights, and must be set again to build the same network without them.
# Source: torchvision 0.26 to 0.29, googlenet.py and inception.py.
_ARGS: dict[str, Args] = {
    "torchvision.models:googlenet": {"transform_input": True, "init_weights": False},
    "torchvision.models:inception_v3": {"transform_input": True, "init_weights": False},
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preset:
    """What comes with a set of weights.

    Attributes:
        name: Its name in torchvision, ``IMAGENET1K_V2`` say.
        labels: Names of its classes.
        resize: Pixels of the shorter side before the centre is cut out.
        crop: Pixels of the side that is cut out.
        args: What the factory must be called with for these weights.
        member: torchvision's own record.
    """

    name: str
    labels: tuple[str, ...]
    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    args: Args
    member: Any


def preset_names(factory: Factory) -> tuple[str, ...]:
    """Return the names of the weights that torchvision has for a factory of its own; none for any other."""
    try:
        return ("DEFAULT", *(member.name for member in get_model_weights(factory.build)))
    except ValueError:
        return ()


def find_preset(factory: Factory, name: str) -> Preset:
    """Look up weights of torchvision's by name.

    Raises:
        ExportError: there are none of that name, or they are not for classifying images.
    """
    names = preset_names(factory)
    if not names:
        raise ExportError(
            f"{name} names weights of torchvision's, but {factory.name} is no factory of torchvision.models that has "
            "any; give --weights FILE, and --input, --mean and --std"
        )
    if name not in names:
        raise ExportError(
            f"{factory.name} has no weights {name}, but one of {', '.join(names)}, or a file, was expected"
        )
    member = getattr(get_model_weights(factory.build), name)
    transforms = member.transforms()
    if not isinstance(transforms, ImageClassification):
        raise ExportError(
            f"weights {name} of {factory.name} bring {type(transforms).__name__}, but only the preprocessing of image "
            "classification can be taken over; give --weights FILE, and --input, --mean and --std"
        )
    return Preset(
        name=member.name,
        labels=_distinct(member.meta["categories"]),
        resize=transforms.resize_size[0],
        crop=transforms.crop_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        args=_ARGS.get(factory.name, {}),
        member=member,
    )


def download(preset: Preset) -> Weights:
    """Return a preset's weights, from torch.hub's cache or the network, without running anything that stands in them.

    The hash in their name is checked: torch.hub does so while it downloads, but not of what its cache holds already.

    Raises:
        ExportError: they cannot be had, or are not those that were published.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(preset.member.url).path).name
    try:
        if cached.is_file():
            _check_hash(cached)
        tensors = preset.member.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExportError(
            f"weights {preset.name} in {cached} hold something else than tensors, and reading that would run code; "
            "take that file away, and they are downloaded again"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ExportError(
            f"weights {preset.name} cannot be downloaded ({error}); where there is a network, or from a file: "
            f"--weights FILE --preset {preset.name}"
        ) from error
    return Weights(tensors=tensors)


def _check_hash(file: Path) -> None:
    """Compare a file with the first digits of its sha256, which published weights have at the end of their name."""
    expected = file.stem.rpartition("-")[2]
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if not expected or not found.startswith(expected):
        raise ExportError(
            f"{file} has sha256 {found[:16]}…, but its name says {expected or 'nothing'}…, so it is cut short or "
            "something else than was published; take it away, and the weights are downloaded again"
        )


def _distinct(categories: list[str]) -> tuple[str, ...]:
    """Tell names apart that stand twice: ImageNet has two cranes and two maillots."""
    seen: dict[str, int] = {}
    names = []
    for name in categories:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(names)
