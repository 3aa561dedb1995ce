"""Look a module over before it is exported: what would make its graph wrong is refused with one sentence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from export.deployable import Deployable, to_float64
from export.draft import Draft
from export.equality import close, equal
from export.errors import ExportError
from export.first_line import first_line
from export.held_tensors import check_eager, check_weights, loose_tensors, part_name, some
from export.observe import Observed, Outputs, first_difference, observe, unreached_parameters, value_reads
from export.shared_weights import copy_sharing_weights
from export.weights import with_versions
from train.wording import some_names

_ROWS = 2  # a row, and a neighbour
_HOSTILE = 50.0  # times as large as the row that is judged
_SEED = 71_993  # of what a factory draws: weights that are loaded afterwards cover it, constants do not
# of two float64 sums in another order, far below what float32 shows; rows that mix differ by far more
_SAME = 1e-9
_SAME_FLOAT32 = 1e-5  # where an operator has no float64


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found, where nothing is to be refused.

    Attributes:
        notes: Sentences for people.
        row_independent: Whether each row's answer is the same whatever rows are beside it.
    """

    notes: tuple[str, ...]
    row_independent: bool


def preflight(draft: Draft) -> Findings:
    """Look over a draft's module.

    Raises:
        ExportError: its graph would be another function than the module, or could not be proven: weights that are not
            finite float32, parts that nobody finds, training mode, chance, state, or a factory that builds another
            network.
    """
    module = draft.module
    check_eager(module)
    check_weights(module)
    loose = loose_tensors(module)
    _check_evaluating(module, "in training mode, where dropout and batch normalisation do something else; call eval()")
    inputs = tuple(
        torch.from_numpy(np.array(draft.golden_inputs[spec.name][:_ROWS], order="C")) for spec in draft.inputs
    )
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    observed = _check_operations(module, inputs)
    outputs = _check_repeatable(module, inputs, observed, buffers=before)
    notes = tuple(
        f"{reads}: a graph holds for good what came of it at the export; read it in __init__, or make it an input"
        for reads in _outside_reads(module, observed)
    )
    notes += _check_rebuilt(draft, inputs, outputs, loose=loose) if draft.build else _unproven(loose)
    unreached = unreached_parameters(copy_sharing_weights(module), inputs)
    if unreached:
        notes += (
            f"no gradient reaches {some(unreached)}, although the outputs depend on it: forward reads it through "
            "detach() or no_grad(), so it is exported as it is, but it cannot have learnt",
        )
    readers = value_reads(module, tuple(tensor.clone() for tensor in inputs), choices=False)
    if readers:
        notes += (
            f"{some(part_name(module, part) for part in readers)} reads values out of its inputs, to branch or to "
            "count on them: a graph holds one way only, and the certificate sees no more than its inputs take; write "
            "it with tensor operations, such as torch.where",
        )
    mixing = _mixing(module, inputs)
    if mixing:
        notes += (
            f"{mixing} mixes the rows of a batch: a row's answer depends on the rows beside it, so the bundle "
            "is marked to be served one row at a time",
        )
    return Findings(notes=notes, row_independent=mixing is None)


def _check_evaluating(module: nn.Module, what: str) -> None:
    training = [part_name(module, name) for name, part in module.named_modules() if part.training]
    if training:
        raise ExportError(f"{some(training)}: {what}")


def _check_operations(module: nn.Module, inputs: Outputs) -> Observed:
    """Run a module and return what was seen, where nothing in it is random or hidden from torch.export."""
    with torch.random.fork_rng(devices=[]):
        try:
            found = observe(module, tuple(tensor.clone() for tensor in inputs))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = first_line(error)
            raise ExportError(
                f"{part_name(module, '')} fails on its own golden inputs ({reason}); mend forward, or what it is given"
            ) from error
    if found.random:
        part, operation = next(iter(found.random.items()))
        raise ExportError(
            f"{part_name(module, part)} calls {operation} in forward, so its answers are drawn by "
            "chance, or by a seed that no graph holds; use nn.Dropout, which eval() switches off, and draw constants "
            "in __init__, as buffers"
        )
    if found.draws:
        raise ExportError(
            f"{part_name(module, '')} draws from {some_names(found.draws)} in forward, or seeds it, so its answers are "
            "drawn by chance, or by a seed that no graph holds; draw constants in __init__, as buffers"
        )
    if found.half:
        part, operation = next(iter(found.half.items()))
        raise ExportError(
            f"{part_name(module, part)} computes {operation} in forward, where each runtime rounds in its own way, so "
            "no graph could be proven; take autocast, half() and bfloat16() out of it, and give --formats onnx-fp16"
        )
    if found.data:
        raise ExportError(
            f"{some(part_name(module, part) for part in found.data)}: .data is read in forward, which cuts weights off "
            "from what they learn, and which torch.export cannot follow; use the tensor itself, or detach()"
        )
    return found


def _check_repeatable(
    module: nn.Module, inputs: Outputs, observed: Observed, *, buffers: Mapping[str, Tensor]
) -> Outputs:
    """Run a module twice more, check that nothing changes: answers, inputs, buffers, mode; and return the answers."""
    given = tuple(tensor.clone() for tensor in inputs)
    remembered = _remembered(module)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        first: Outputs = module(*given)
        if not _all_equal(given, inputs):
            raise ExportError(
                f"{part_name(module, '')} changes its own input in forward, so what it is given next is another; write "
                "x = x * 2 instead of x.mul_(2)"
            )
        _check_evaluating(module, "switched back to training mode in forward; take train() out of it")
        second: Outputs = module(*given)
    changed = [name for name, buffer in module.named_buffers() if name in buffers and not equal(buffer, buffers[name])]
    changed += [name for name, value in _remembered(module).items() if remembered.get(name, value) != value]
    if changed:
        raise ExportError(
            f"forward changes {some(changed)}, so an answer depends on the ones before, and a graph keeps nothing from "
            "run to run; make what it counts or averages fixed in eval()"
        )
    # unobserved, torch runs attention in one piece, which rounds otherwise
    if not _all_equal(first, second) or not _all_equal(first, observed.outputs, same=close):
        part = part_name(module, first_difference(module, given, given, same=equal))
        for reads in _outside_reads(module, observed):
            raise ExportError(
                f"{reads}, and gives other outputs for the same inputs when it is run again; make its answers depend "
                "on the inputs alone"
            )
        raise ExportError(
            f"{part} gives other outputs for the same inputs when it is run again: forward draws random numbers, or "
            "keeps something from run to run; make its answers depend on the inputs alone"
        )
    return first


def _outside_reads(module: nn.Module, observed: Observed) -> tuple[str, ...]:
    return tuple(f"{part_name(module, part)} reads {what} in forward" for part, what in observed.outside.items())


def _remembered(module: nn.Module) -> dict[str, object]:
    """Return the plain values that the parts of a module keep: counters and switches, which no graph has."""
    return {
        f"{part_name(module, name)}.{key}": value
        for name, part in module.named_modules()
        for key, value in vars(part).items()
        if isinstance(value, int | float | str)
    }


def _unproven(loose: tuple[str, ...]) -> tuple[str, ...]:
    if not loose:
        return ()
    return (f"{some(loose)} stands outside parameters and buffers, so state_dict.pt lacks it; use register_buffer",)


def _check_rebuilt(draft: Draft, inputs: Outputs, outputs: Outputs, *, loose: tuple[str, ...]) -> tuple[str, ...]:
    """Build the network anew, load the weights, and check that it is the same function."""
    network = _build(draft.build, draft.weights) if draft.build else nn.Identity()
    module = Deployable(draft.module.get_submodule("input_module"), network, draft.task).eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        again: Outputs = module(*(tensor.clone() for tensor in inputs))
    if _all_equal(outputs, again):
        return tuple(note + ", or compute it in __init__ as now" for note in _unproven(loose))
    own = dict(draft.module.named_buffers())
    constants = [
        *loose,
        *(name for name, buffer in module.named_buffers() if name not in own or not equal(own[name], buffer)),
    ]
    named = (
        f"{some(constants)} {'is' if len(constants) == 1 else 'are'} not among them" if constants else "some constant"
    )
    raise ExportError(
        f"{type(network).__name__} built anew, with the same weights loaded, gives other outputs: {named}, or its "
        "factory builds something else each time; register constants with register_buffer, and build without chance"
    )


def _build(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = build()
    own = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if {name: tuple(tensor.shape) for name, tensor in own.items()} != shapes:
        parts = [name for name in {**own, **weights} if name not in own or tuple(own[name].shape) != shapes.get(name)]
        raise ExportError(
            f"{type(network).__name__} built anew is another network: {some(parts)} is not the same; its factory "
            "builds something else each time, so fix what it draws or counts, or pass it as an argument"
        )
    network.load_state_dict(with_versions(network, weights))
    return network


def _mixing(module: nn.Module, inputs: Outputs) -> str | None:
    """Name the part that mixes rows: each row alone, and between hostile ones, is judged in float64."""
    if len(inputs[0]) < _ROWS:
        return None
    wide = to_float64(module)
    for row in range(_ROWS):
        alone = tuple(tensor[row : row + 1].clone() for tensor in inputs)
        company = [_hostile(tensor[1 - row : 2 - row]) for tensor in inputs]
        # before and behind: what sums along the batch, or runs along it as a sequence, mixes in one direction only
        among = tuple(torch.cat([other, own, other]) for own, other in zip(alone, company, strict=True))
        try:
            with torch.no_grad():
                for given in (alone, among):  # before the reference, which may leave something behind
                    module(*(tensor.clone() for tensor in given))
                pairs = list(zip(wide(*alone), wide(*among), strict=True))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = first_line(error)
            raise ExportError(
                f"{part_name(module, '')} fails in float64, or at batch size 1, where its graphs are judged "
                f"({reason}); take dtypes from its inputs, and write forward for any number of rows"
            ) from error
        same = partial(_same_row, tolerance=_SAME_FLOAT32 if wide.float32_operators else _SAME)
        if not all(same(one, many) for one, many in pairs):
            return part_name(wide, first_difference(wide, alone, among, same=same))
    return None


def _hostile(rows: Tensor) -> Tensor:
    if rows.dtype == torch.uint8:
        return 255 - rows
    return rows * _HOSTILE if rows.is_floating_point() else rows.clone()


def _same_row(alone: Tensor, among: Tensor, *, tolerance: float) -> bool:
    """Return whether the middle of three rows is the same as it is alone; tensors without rows tell nothing."""
    if not alone.ndim or len(among) != 3 * len(alone):
        return True
    row = among[len(alone) : 2 * len(alone)]
    if not alone.is_floating_point():
        return equal(alone, row)
    scale = max(1.0, float(alone.abs().nan_to_num(posinf=0.0).max())) if alone.numel() else 1.0
    return torch.allclose(alone, row, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _all_equal(one: Outputs, other: Outputs, *, same: Callable[[Tensor, Tensor], bool] | None = None) -> bool:
    return len(one) == len(other) and all(map(same or equal, one, other))
