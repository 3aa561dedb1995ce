"""Whether the weights that a graph holds are the model's, bit for bit: what no sample reads is told by no output."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from evaluate.graph_verdict import GraphVerdict, HeldWeights
from evaluate.initializers import initializers
from export.held_tensors import bare_name
from export.to_exported_program import load_exported_program
from export.to_torchscript import load_torchscript
from serve.bundle import Bundle, FileEntry

_ROUNDING = 4.0  # units in the last place that two factors of batch normalisation may round otherwise by


def held_weights(bundle: Bundle, entry: FileEntry, module: nn.Module) -> HeldWeights | None:
    """Compare the tensors of a graph with those of the same name in a module.

    Exporters keep names, but not always values: the ONNX one multiplies the kernels of a convolution by the scales of
    the batch normalisation behind it, output channel by output channel, and adds its shift to the bias. Such a kernel
    must be the module's but for one factor of each channel.

    Args:
        bundle: A checked bundle.
        entry: One of its graphs, of full precision.
        module: What it was exported from.

    Returns:
        What was found, or None where the graph cannot be read; who runs it says so.
    """
    try:
        folds = entry.format == "onnx" and any(isinstance(part, _BatchNorm) for part in module.modules())
        return _compare(entry.path, _tensors_of(bundle, entry), _state(module), folds=folds)
    except Exception:  # noqa: BLE001 - of damaged bytes, readers raise whatever their parts do
        return None


def with_weights(verdict: GraphVerdict, held: HeldWeights | None) -> GraphVerdict:
    """Return the verdict on a graph, which fails where it holds other weights than the model's."""
    if held is None or not held.differing:
        return verdict
    reason = _said(held) if verdict.reason is None else f"{_said(held)}; {verdict.reason}"
    return replace(verdict, verdict="fail", reason=reason)


def _said(held: HeldWeights) -> str:
    first, others = held.differing[0], len(held.differing) - 1
    more = f", and so do {others} more tensors" if others > 1 else ", and so does another tensor" if others else ""
    return f"{first}{more}"


def _compare(
    graph: str, found: Iterable[tuple[str, NDArray[Any]]], expected: Mapping[str, NDArray[Any]], *, folds: bool
) -> HeldWeights:
    equal, scaled, other = set(), set(), {}
    for name, values in found:
        right = expected.get(name)
        if right is None or right.shape != values.shape or right.dtype != values.dtype:
            continue  # a tensor of the graph's own, or one that the exporter turned or joined with others
        if np.array_equal(values, right, equal_nan=True):
            equal.add(name)
        elif folds and _one_factor_each(values, right):
            scaled.add(name)
        else:
            other[name] = _difference(name, values, right)
    shifted = {f"{name.rpartition('.')[0]}.bias" for name in scaled}
    differing = [sentence for name, sentence in other.items() if name not in shifted]
    return HeldWeights(
        graph=graph,
        tensors=len(expected),
        equal=len(equal),
        scaled=len(scaled),
        differing=tuple(differing),
    )


def _state(module: nn.Module) -> dict[str, NDArray[Any]]:
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: tensor.detach().numpy() for name, tensor in tensors}


def _tensors_of(bundle: Bundle, entry: FileEntry) -> Iterable[tuple[str, NDArray[Any]]]:
    content = bundle.read(entry)
    if entry.format == "onnx":
        return initializers(onnx.load_model_from_string(content), bundle.read_weights(entry))
    load = load_torchscript if entry.format == "torchscript" else load_exported_program
    return _state(cast(nn.Module, load(content))).items()


def _one_factor_each(values: NDArray[Any], right: NDArray[Any]) -> bool:
    """Return whether each output channel is the right one times a factor of its own; a transposed kernel's are second.

    A single value is always another one times a factor, so that channels of one value prove nothing.
    """
    return right.ndim > 1 and any(_scaled_along(values, right, axis) for axis in (0, 1))


def _scaled_along(values: NDArray[Any], right: NDArray[Any], axis: int) -> bool:
    found, expected = (
        np.moveaxis(one, axis, 0).reshape(one.shape[axis], -1).astype(np.float64) for one in (values, right)
    )
    if expected.shape[1] < 2:
        return False
    at = np.abs(expected).argmax(axis=1)[:, None]
    largest = np.take_along_axis(expected, at, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(largest == 0, 0.0, np.take_along_axis(found, at, axis=1) / largest)
    allowed = _ROUNDING * np.spacing(np.abs(factor * expected).astype(np.float32)).astype(np.float64)
    return bool((np.abs(found - factor * expected) <= allowed).all())


def _difference(name: str, values: NDArray[Any], right: NDArray[Any]) -> str:
    found, expected = values.astype(np.float64), right.astype(np.float64)
    unlike = int((~((values == right) | (np.isnan(found) & np.isnan(expected)))).sum())
    with np.errstate(invalid="ignore"):
        most = float(np.nanmax(np.abs(found - expected), initial=0.0))
    return f"{bare_name(name)} differs from state_dict.pt in {unlike} of {right.size} values, by at most {most:.3g}"
