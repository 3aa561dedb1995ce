"""What a network's outputs mean: classes, numbers, or tensors; found by running it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch._dynamo  # exporting needs it anyway; see `DispatchMode`
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._ops import OpOverload

from export.deployable import output_specs
from export.dispatch_mode import DispatchMode
from export.errors import ExportError
from export.first_line import first_line
from export.network_outputs import flatten_outputs
from export.own_names import refuse_unreadable
from export.stopped_at import stopped_at
from serve.bundle import Task, TensorSpec
from train.wording import some_names

_PROBED_ROWS = (3, 2, 1)
_BINARY = 2
_SUM_ERROR = 1e-4
_OF_INPUT = (RuntimeError, ValueError, IndexError, TypeError, AssertionError)  # what a wrong --input may bring about


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """What the user says of the outputs; empty where he says nothing."""

    labels: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOutputs:
    """The outputs as a manifest records them, and sentences for people."""

    task: Task
    labels: tuple[str, ...]
    specs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()


class _LastStep(DispatchMode):
    """Remembers which tensors a sigmoid or softmax made."""

    supports_higher_order_operators = True  # torch.cond, say

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[str, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.strip("_") if isinstance(func, OpOverload) else ""
        if name in {"sigmoid", "softmax"} and isinstance(result, Tensor):
            self.made[result.untyped_storage().data_ptr()] = (name, result)
        return result


def read_outputs(
    network: nn.Module, input_module: nn.Module, rows: Mapping[str, NDArray[Any]], settings: OutputSettings
) -> OwnOutputs:
    """Run a network at several batch sizes and say what its outputs mean.

    Args:
        network: In evaluation mode.
        input_module: What stands before it.
        rows: Golden inputs by name, in the network's order.
        settings: What the user says of the outputs.

    Raises:
        ExportError: the network does not run on such inputs, its outputs do not fit what the user says, or they are
            probabilities where logits are expected.
    """
    if settings.outputs and (settings.labels or settings.targets):
        other = "--labels" if settings.labels else "--targets"
        raise ExportError(f"--outputs names tensors, but {other} says what a single output means; give one of the two")
    if settings.labels and settings.targets:
        raise ExportError("--labels are of a classification and --targets of a regression; give one of the two")
    last = _LastStep()

    def run(count: int) -> dict[str, Tensor]:
        tensors = [torch.from_numpy(np.resize(values, (count, *values.shape[1:]))) for values in rows.values()]
        return _run(network, input_module, tensors, rows)

    with last:
        results = run(len(next(iter(rows.values()))))
    shapes = _shapes(run)
    if settings.outputs:
        return _tensors(results, shapes, settings.outputs)
    (output, shape), single = next(zip(results.values(), shapes.values(), strict=True)), len(results) == 1
    plain = single and len(shape) <= 1 and output.is_floating_point()
    if settings.labels:
        return _classification(results, shapes, settings.labels, last, plain=plain)
    if settings.targets and not plain:
        raise ExportError(
            f"--targets are given, but forward returns {_described(results, shapes)}; a regression has one output, "
            "(batch, targets)"
        )
    if plain:
        return _regression(shape, settings.targets)
    return _tensors(results, shapes, ())


def _run(
    network: nn.Module, input_module: nn.Module, tensors: list[Tensor], rows: Mapping[str, NDArray[Any]]
) -> dict[str, Tensor]:
    given = [input_module(tensor) for tensor in tensors]
    try:
        with torch.inference_mode():
            results = network(*given)
    except Exception as error:  # whatever the user's forward raises
        shapes = ", ".join(
            f"{name} as {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
            for name, tensor in zip(rows, given, strict=True)
        )
        line = stopped_at(network, error).line
        its_input = isinstance(error, _OF_INPUT) and not isinstance(error, NotImplementedError)
        remedy = "check --input against what forward takes" if its_input else "mend that in forward"
        raise ExportError(
            f"{type(network).__name__} fails on {shapes} ({type(error).__name__}: {first_line(error)}{line}); {remedy}"
        ) from error
    return flatten_outputs(results)


def _shapes(run: Callable[[int], dict[str, Tensor]]) -> dict[str, tuple[int, ...]]:
    """Return the outputs' shapes without the batch, after it has been seen to come first at any batch size."""
    found: dict[str, tuple[int, ...]] = {}
    for count in _PROBED_ROWS:
        outputs = run(count)
        for name, output in outputs.items():
            shape = tuple(output.shape)
            known = found.setdefault(name, shape[1:])
            if not shape or shape[0] != count or shape[1:] != known:
                raise ExportError(
                    f"output {name} of forward has shape {list(shape)} for {count} rows, but "
                    f"{[count, *known]} was expected; look for squeeze() without a dimension, and for a mean or sum "
                    "over the batch"
                )
    return found


def _classification(
    results: dict[str, Tensor],
    shapes: dict[str, tuple[int, ...]],
    labels: tuple[str, ...],
    last: _LastStep,
    *,
    plain: bool,
) -> OwnOutputs:
    if not plain:
        raise ExportError(
            f"--labels are given, but forward returns {_described(results, shapes)}; a classification has one output, "
            "the logits (batch, classes); leave the labels out for tensors as they are"
        )
    refuse_unreadable(labels, "--labels names class")
    twice = [name for name in labels if labels.count(name) > 1]
    if twice:
        raise ExportError(f"--labels names {twice[0]!r} twice, but each class has a name of its own; rename one")
    (logits,), (shape,) = results.values(), shapes.values()
    width = shape[0] if shape else 1
    binary = width == 1 and len(labels) == _BINARY
    if width != len(labels) and not binary:
        also = ", or 2 for one logit" if width == 1 else ""
        raise ExportError(
            f"--labels names {len(labels)} classes, but the network gives {width} "
            f"{'logit' if width == 1 else 'logits'} a row; give {width} labels{also}"
        )
    if width == 1 and not binary:
        raise ExportError("--labels names 1 class, but a classification has at least 2; name what it is not, first")
    _refuse_probabilities(logits, last)
    task: Task = "binary-classification" if binary else "classification"
    return OwnOutputs(task=task, labels=labels, specs=output_specs(task, labels))


def _refuse_probabilities(logits: Tensor, last: _LastStep) -> None:
    """Refuse outputs that a sigmoid or softmax has been taken of: it would be taken twice."""
    made = last.made.get(logits.untyped_storage().data_ptr())
    within = bool(((logits >= 0) & (logits <= 1)).all())
    summed = logits.ndim > 1 and logits.shape[1] > 1 and bool(((logits.sum(dim=1) - 1).abs() <= _SUM_ERROR).all())
    if within and (summed or made):
        how = f"its last step is a {made[0]}" if made else "every row lies in 0 to 1 and sums to 1"
        raise ExportError(
            f"the network returns probabilities already ({how}), but logits are expected: they would be "
            "taken twice; leave that last step out of forward, or give --outputs probabilities instead of --labels"
        )


def _regression(shape: tuple[int, ...], targets: tuple[str, ...]) -> OwnOutputs:
    width = shape[0] if shape else 1
    names = targets or tuple(f"y{index}" for index in range(1, width + 1))
    if len(names) != width:
        raise ExportError(
            f"--targets names {len(names)} targets, but the network gives {width} a row; give one name for each"
        )
    refuse_unreadable(names, "--targets names target")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ExportError(f"--targets names {twice[0]!r} twice, but each has a name of its own; rename one")
    notes = (
        ()
        if targets
        else (f"without --labels this is a regression with {some_names(names)}; give --labels for classes",)
    )
    return OwnOutputs(task="regression", labels=names, specs=output_specs("regression", names), notes=notes)


def _tensors(results: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], outputs: tuple[str, ...]) -> OwnOutputs:
    names = outputs or tuple(results)
    if len(names) != len(results):
        raise ExportError(
            f"--outputs names {len(names)} tensors, but forward returns {_described(results, shapes)}; name each"
        )
    refuse_unreadable(names, "--outputs names tensor" if outputs else "forward names output")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ExportError(f"--outputs names {twice[0]!r} twice, but each has a name of its own; rename one")
    strange = [name for name, output in results.items() if output.dtype not in {torch.float32, torch.int64}]
    if strange:
        raise ExportError(
            f"output {strange[0]} of forward is {str(results[strange[0]].dtype).removeprefix('torch.')}, but float32 "
            "or int64 was expected; convert it in forward"
        )
    specs = tuple(
        TensorSpec(name=name, dtype="float32" if output.is_floating_point() else "int64", shape=("batch", *shapes[key]))
        for name, (key, output) in zip(names, results.items(), strict=True)
    )
    return OwnOutputs(task="tensors", labels=(), specs=specs)


def _described(results: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(
        f"{name} {str(output.dtype).removeprefix('torch.')} ({', '.join(['batch', *map(str, shapes[name])])})"
        for name, output in results.items()
    )
