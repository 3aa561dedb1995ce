"""The module that is exported: what the user has goes in, what the user wants comes out; and its float64 reference."""

import copy
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serve.bundle import Bundle, BundleError, ImagePreprocessing, Provenance, TensorSpec
from train.models.image_input import ImageInput
from train.run import RunError, build_network

EVALUATION_BATCH = 64


class ImageClassifier(nn.Module):
    """A network with its image input in front and its softmax behind.

    Shape:
        ``image`` ``(batch, height, width, channels)`` uint8 in; ``logits`` and ``probabilities``, both
        ``(batch, classes)``, out.
    """

    def __init__(self, image_input: ImageInput, network: nn.Module) -> None:
        super().__init__()
        self.image_input = image_input
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Classify one batch."""
        logits = self.network(self.image_input(image))
        return logits, torch.softmax(logits, dim=1)


def image_inputs(preprocessing: ImagePreprocessing) -> tuple[TensorSpec, ...]:
    """Return the inputs of an image graph."""
    return (TensorSpec(name="image", dtype="uint8", shape=("batch", *preprocessing.shape)),)


def classification_outputs(classes: int) -> tuple[TensorSpec, ...]:
    """Return the outputs of a classification graph, in the order in which the module returns them."""
    return tuple(
        TensorSpec(name=name, dtype="float32", shape=("batch", classes)) for name in ("logits", "probabilities")
    )


def run_module(module: nn.Module, inputs: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Run an eager module over any number of rows, a few at a time.

    Args:
        module: In evaluation mode; returns one tensor per name.
        inputs: ``(batch, …)``.
        names: Names of the outputs.

    Returns:
        One array per name, ``(batch, …)``, in the module's own dtype.
    """
    with torch.inference_mode():
        chunks: list[tuple[Tensor, ...]] = [
            module(torch.from_numpy(np.ascontiguousarray(inputs[start : start + EVALUATION_BATCH])))
            for start in range(0, len(inputs), EVALUATION_BATCH)
        ]
    return {name: torch.cat([chunk[index] for chunk in chunks]).numpy() for index, name in enumerate(names)}


def to_float64(module: nn.Module) -> nn.Module:
    """Return a copy of the module that computes in float64: the reference that float32 results are judged by."""
    return copy.deepcopy(module).double().eval()


def rebuild(bundle: Bundle) -> nn.Module:
    """Build a bundle's eager module from its state_dict, as it was before any export.

    Raises:
        BundleError: the bundle holds no state_dict, or one that does not fit its factory.
    """
    manifest = bundle.manifest
    entry = bundle.entry("state-dict")
    if entry is None:
        raise BundleError(
            f"{bundle.path} holds no state_dict, so there is nothing to compare with; export the run again"
        )
    provenance = manifest.provenance
    try:
        network = build_network(provenance.factory, provenance.factory_args)
        weights: Mapping[str, Any] = torch.load(io.BytesIO(bundle.read(entry)), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    except RunError as error:
        raise BundleError(f"{bundle.path}: {error}") from error
    except (RuntimeError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{bundle.path / entry.path} does not fit {provenance.factory} ({error}); export the run again"
        ) from error
    return wrap(network, provenance)


def wrap(network: nn.Module, provenance: Provenance) -> nn.Module:
    """Return the deployable module around a network, in evaluation mode."""
    return ImageClassifier(ImageInput(provenance.mean, provenance.std), network).eval()
