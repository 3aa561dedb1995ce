"""Weights that the ONNX exporter merges with the batch normalisation behind them, told from weights that are wrong."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from evaluate.initializers import initializers
from evaluate.inputs import Arrays, first_rows
from export.dispatch_mode import DispatchMode
from export.errors import ExportError
from serve.bundle import Manifest

_ROUNDING = 4.0  # units in the last place that float32 may have rounded the product otherwise by

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Norm:
    """What batch normalisation does to each channel: times `factor`, plus `shift`, after `mean` was taken away."""

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]
    shift: NDArray[np.float64]


class _Norms(DispatchMode):
    """Collects the batch normalisations that run, modules and functions alike."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Norm] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func is torch.ops.aten.native_batch_norm.default and args[3] is not None:
            _, weight, bias, mean, variance, _, _, epsilon = args
            mean, variance = _wide(mean), _wide(variance)
            factor = (_wide(weight) if weight is not None else 1.0) / np.sqrt(variance + epsilon)
            shift = _wide(bias) if bias is not None else np.zeros_like(mean)
            self.found.append(_Norm(mean=mean, factor=factor, shift=shift))
        return func(*args, **(kwargs or {}))


def folded_tensors(other: Tensors, state: Tensors, module: nn.Module, manifest: Manifest, inputs: Arrays) -> set[str]:
    """Return the names of tensors that a graph may hold in place of the model's of the same name.

    Of a convolution or linear layer followed by batch normalisation, the exporter writes the weight times the factor
    of each output channel, and the bias with the mean taken away, times it, plus the shift. What is not one of the
    normalisations that run, exactly but for rounding, must be what the exporter makes of the module now.

    Args:
        other: Tensors of the graph that are not the model's.
        state: The model's.
        module: The model, in evaluation mode.
        manifest: Says what goes in and comes out.
        inputs: Rows to run.
    """
    rows = tuple(torch.from_numpy(first_rows(inputs, 2)[spec.name]) for spec in manifest.inputs)
    with torch.no_grad(), _Norms() as norms:
        module(*rows)
    parts = {name: _part_of(module, name) for name in other}
    folded = {
        name
        for name, values in other.items()
        if values.shape == state[name].shape
        and any(_is_folded(name, values, state[name], norm, parts[name]) for norm in norms.found)
    }
    left = {name: values for name, values in other.items() if name not in folded}
    if left:
        anew = _exported_anew(module, rows, manifest)
        folded |= {name for name, values in left.items() if name in anew and _close(values, anew[name])}
    return folded


def _part_of(module: nn.Module, name: str) -> nn.Module:
    """Return the part of a module that a tensor belongs to."""
    return module.get_submodule(name.rpartition(".")[0])


def _is_folded(name: str, values: NDArray[Any], right: NDArray[Any], norm: _Norm, part: nn.Module) -> bool:
    if right.ndim == 1:
        return name.endswith("bias") and right.shape == norm.mean.shape and _is_shifted(values, right, norm)
    if isinstance(part, _ConvTransposeNd):
        if right.shape[1] * part.groups != len(norm.factor):
            return False
        factor = norm.factor.reshape(part.groups, 1, right.shape[1], 1)
        grouped = right.reshape(part.groups, -1, right.shape[1], right[0, 0].size).astype(np.float64)
        expected = (grouped * factor).reshape(right.shape)
        return _within(values, expected, np.abs(expected))
    if len(right) != len(norm.factor):
        return False
    factor = norm.factor.reshape(-1, *(1 for _ in right.shape[1:]))
    for part_of in (slice(0, 1), slice(None)):  # most are told by their first channel
        expected = right[part_of].astype(np.float64) * factor[part_of]
        if not _within(values[part_of], expected, np.abs(expected)):
            return False
    return True


def _is_shifted(values: NDArray[Any], right: NDArray[Any], norm: _Norm) -> bool:
    wide = right.astype(np.float64)
    expected = (wide - norm.mean) * norm.factor + norm.shift
    return _within(values, expected, (np.abs(wide) + np.abs(norm.mean)) * np.abs(norm.factor) + np.abs(norm.shift))


def _within(values: NDArray[Any], expected: NDArray[np.float64], size: NDArray[np.float64]) -> bool:
    allowed = _ROUNDING * np.spacing(size.astype(np.float32)).astype(np.float64)
    return bool((np.abs(values.astype(np.float64) - expected) <= allowed).all())


def _close(values: NDArray[Any], anew: NDArray[Any]) -> bool:
    """Return whether a tensor is what the exporter makes now, which another version of it may round otherwise."""
    if values.shape != anew.shape or values.dtype != anew.dtype:
        return False
    return values.tobytes() == anew.tobytes() or _within(values, anew.astype(np.float64), np.abs(anew))


def _exported_anew(module: nn.Module, rows: tuple[Tensor, ...], manifest: Manifest) -> dict[str, NDArray[Any]]:
    from export.to_onnx import export_onnx  # half a second, and seldom needed

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        try:
            export_onnx(module, rows, path, inputs=manifest.inputs, outputs=manifest.outputs)
        except ExportError:
            return {}
        return dict(initializers(onnx.load(path), {}))


def _wide(values: Tensor) -> NDArray[np.float64]:
    return values.detach().numpy().astype(np.float64)
