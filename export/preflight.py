"""Look a module over before it is exported: what would make its graph wrong is refused with one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch._dynamo  # exporting needs it anyway; see `DispatchMode`
from torch import Tensor, nn

from export.draft import Draft
from export.equality import all_equal, close, equal
from export.errors import ExportError
from export.first_difference import first_difference
from export.first_line import first_line
from export.held_tensors import check_eager, check_weights, loose_tensors, part_name, some
from export.observe import Observed, Outputs, observe, value_reads
from export.rebuilt import check_rebuilt, unsaved
from export.row_mixing import ROWS, mixing_part
from export.shared_weights import copy_sharing_weights
from export.unreached import unreached_parameters
from train.wording import some_names


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
        torch.from_numpy(np.array(draft.golden_inputs[spec.name][:ROWS], order="C")) for spec in draft.inputs
    )
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    observed = _check_operations(module, inputs)
    outputs = _check_repeatable(module, inputs, observed, buffers=before)
    notes = tuple(
        f"{reads}: a graph holds for good what came of it at the export; read it in __init__, or make it an input"
        for reads in _outside_reads(module, observed)
    )
    notes += check_rebuilt(draft, inputs, outputs, loose=loose) if draft.build else unsaved(loose)
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
    mixing = mixing_part(module, inputs)
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
        if not all_equal(given, inputs):
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
    if not all_equal(first, second) or not all_equal(first, observed.outputs, same=close):
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
