"""The module that is exported: what the user has goes in, what the user wants comes out."""

import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.factory import Factory, build_module
from export.first_line import first_line
from export.network_outputs import flatten_outputs, only_output
from export.reference import to_float64 as to_float64
from export.weights import with_versions
from serve.bundle import Bundle, BundleError, Feature, ImagePreprocessing, Manifest, Task, TensorSpec
from train.models.inputs import build_input
from train.models.tensor_input import TensorInput
from train.run import MODELS, RunError, build_network

MAX_INPUTS = 6


class Deployable(nn.Module):
    """A network with its input module in front and its activation behind.

    Shape:
        ``image`` ``(batch, height, width, channels)`` uint8, ``features`` ``(batch, features)`` float32, or any
        tensors ``(batch, …)`` in; ``logits`` and ``probabilities`` ``(batch, classes)``, for a binary classification
        ``(batch, 1)``, ``prediction`` ``(batch, targets)``, or whatever tensors the network returns out.
    """

    def __init__(self, input_module: nn.Module, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.input_module = input_module
        self.network = network
        self.task = task

    # one parameter per input: torch.export takes *inputs for a single one, which is a tuple
    def forward(
        self,
        inputs: Tensor,
        second: Tensor | None = None,
        third: Tensor | None = None,
        fourth: Tensor | None = None,
        fifth: Tensor | None = None,
        sixth: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Run one batch."""
        others = [tensor for tensor in (second, third, fourth, fifth, sixth) if tensor is not None]
        if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            for other in others:  # so that an exporter knows that all batches are one
                torch._check(other.shape[0] == inputs.shape[0])
        results = self.network(*(self.input_module(tensor) for tensor in (inputs, *others)))
        if self.task == "tensors":
            return tuple(flatten_outputs(results).values())
        outputs = only_output(results)
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
    """Return the outputs of a graph, in the order in which the module returns them; of ``tensors``, nobody knows."""
    names = ("prediction",) if task == "regression" else ("logits", "probabilities")
    width = 1 if task == "binary-classification" else len(labels)
    return tuple(TensorSpec(name=name, dtype="float32", shape=("batch", width)) for name in names)


def rebuild(bundle: Bundle, *, factory: Factory | None = None) -> nn.Module:
    """Build a bundle's eager module from its state_dict, as it was before any export.

    Args:
        bundle: A checked bundle.
        factory: What the user named to build the network, where it is none of this project's own. It must be what the
            bundle was exported with.

    Raises:
        BundleError: the bundle holds no state_dict, or one that does not fit its factory; or it takes another factory.
    """
    manifest = bundle.manifest
    entry = bundle.entry("state-dict")
    if entry is None:
        raise BundleError(
            f"{bundle.path} holds no state_dict, so there is nothing to compare with; export the run again"
        )
    content = bundle.read(entry)
    network = _build(bundle, factory)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are no state_dict, torch asks for a report
            weights: Mapping[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network.load_state_dict(with_versions(network, weights))
    except Exception as error:  # of hostile bytes, torch's reader raises whatever its parts do
        raise BundleError(
            f"{bundle.path / entry.path} does not fit {manifest.provenance.factory} ({first_line(error)}); "
            "export the run again"
        ) from error
    return wrap_like(manifest, network)


def _build(bundle: Bundle, factory: Factory | None) -> nn.Module:
    provenance = bundle.manifest.provenance
    name = provenance.factory
    try:
        if factory is None and name.startswith(MODELS + "."):
            return build_network(name, provenance.factory_args)
        if not name:
            raise BundleError(
                f"{bundle.path} was exported from a module in Python and records no factory, so nothing can build it "
                "again; pass the module where it is judged"
            )
        if factory is None:
            raise BundleError(
                f"{bundle.path} was built by {name}, and code that a file names is not run; name it yourself, with "
                f"--factory {name}"
            )
        if factory.name != name:
            raise BundleError(
                f"{bundle.path} was built by {name}, but the factory given is {factory.name}; give that one"
            )
        if factory.sha256 != provenance.factory_sha256:
            found, expected = (f"{digest or 'none':.12}" for digest in (factory.sha256, provenance.factory_sha256))
            raise BundleError(
                f"{name} has sha256 {found}…, but {bundle.path} was exported from {expected}…; give the file as it "
                "was, or export again"
            )
        return build_module(factory, provenance.factory_args)
    except (RunError, ExportError) as error:
        raise BundleError(f"{bundle.path}: {error}") from error


def wrap_like(manifest: Manifest, network: nn.Module) -> nn.Module:
    """Return the deployable module around a network that is at hand, as the manifest describes it."""
    provenance = manifest.provenance
    return wrap(network, task=manifest.task, features=manifest.features, mean=provenance.mean, std=provenance.std)


def wrap(
    network: nn.Module, *, task: Task, features: tuple[Feature, ...], mean: tuple[float, ...], std: tuple[float, ...]
) -> nn.Module:
    """Return the deployable module around a network, in evaluation mode.

    Without features it takes images, and without a mean, too, tensors as they are.
    """
    inputs = build_input(features, mean, std) if features or mean else TensorInput()
    return Deployable(inputs, network, task).eval()
