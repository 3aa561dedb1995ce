"""The module that is exported: what the user has goes in, what the user wants comes out; and its float64 reference."""

import copy
import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from serve.bundle import Bundle, BundleError, Feature, ImagePreprocessing, Task, TensorSpec
from train.models.inputs import build_input
from train.run import RunError, build_network


class Deployable(nn.Module):
    """A network with its input module in front and its activation behind.

    Shape:
        ``image`` ``(batch, height, width, channels)`` uint8 or ``features`` ``(batch, features)`` float32 in;
        ``logits`` and ``probabilities`` ``(batch, classes)``, for a binary classification ``(batch, 1)``, or
        ``prediction`` ``(batch, targets)`` out.
    """

    def __init__(self, input_module: nn.Module, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.input_module = input_module
        self.network = network
        self.task = task

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Run one batch."""
        outputs = self.network(self.input_module(inputs))
        if self.task == "regression":
            return (outputs,)
        if self.task == "binary-classification":
            return outputs, _sigmoid(outputs)
        return outputs, torch.softmax(outputs, dim=1)


def _sigmoid(logits: Tensor) -> Tensor:
    """Return the sigmoid of one logit per row, as the softmax over that logit and 0.

    ONNX Runtime 1.31 computes its own Sigmoid on the CPU with an absolute error of 6e-8, and gives 0 below -18:
    a small probability would be all error. Its Softmax is right to the last places.
    """
    return torch.softmax(torch.cat([torch.zeros_like(logits), logits], dim=1), dim=1)[:, 1:]


def input_specs(preprocessing: ImagePreprocessing | None, features: tuple[Feature, ...]) -> tuple[TensorSpec, ...]:
    """Return the inputs of a graph of images, or of a table."""
    if preprocessing is not None:
        return (TensorSpec(name="image", dtype="uint8", shape=("batch", *preprocessing.shape)),)
    return (TensorSpec(name="features", dtype="float32", shape=("batch", len(features))),)


def output_specs(task: Task, labels: tuple[str, ...]) -> tuple[TensorSpec, ...]:
    """Return the outputs of a graph, in the order in which the module returns them."""
    names = ("prediction",) if task == "regression" else ("logits", "probabilities")
    width = 1 if task == "binary-classification" else len(labels)
    return tuple(TensorSpec(name=name, dtype="float32", shape=("batch", width)) for name in names)


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
    content = bundle.read(entry)
    try:
        network = build_network(provenance.factory, provenance.factory_args)
    except RunError as error:
        raise BundleError(f"{bundle.path}: {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are no state_dict, torch asks for a report
            weights: Mapping[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    except Exception as error:  # of hostile bytes, torch's reader raises whatever its parts do
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BundleError(
            f"{bundle.path / entry.path} does not fit {provenance.factory} ({reason}); export the run again"
        ) from error
    return wrap(network, task=manifest.task, features=manifest.features, mean=provenance.mean, std=provenance.std)


def wrap(
    network: nn.Module, *, task: Task, features: tuple[Feature, ...], mean: tuple[float, ...], std: tuple[float, ...]
) -> nn.Module:
    """Return the deployable module around a network, in evaluation mode; without features it takes images."""
    return Deployable(build_input(features, mean, std), network, task).eval()
