"""One input set with what the eager module makes of it: what graphs are held against."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evaluate.eager import Eager
from evaluate.image_inputs import image_input_sets
from evaluate.inputs import Arrays, InputSet, Predict, take
from evaluate.plan import Plan
from evaluate.source import HeldOut
from evaluate.table_inputs import table_input_sets
from evaluate.tensor_inputs import tensor_input_sets
from evaluate.trouble import ParityError
from export.first_line import first_line
from serve.bundle import Manifest
from serve.decisions import decide
from serve.golden import Golden


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """One input set, with the eager module's outputs in float64 and in float32."""

    inputs: InputSet
    reference: dict[str, NDArray[np.float64]]
    eager: dict[str, NDArray[np.float32]]


def truths_of(
    manifest: Manifest,
    golden: Golden,
    held_out: HeldOut,
    eager: Eager,
    *,
    plan: Plan,
    seed: int,
    on_step: Callable[[str], None] = lambda _: None,
) -> tuple[list[Truth], tuple[str, ...]]:
    """Run every input set through the eager module, and return the sentences that say what proves nothing.

    Raises:
        ParityError: the eager module fails on one of them because of what the reference left behind.
    """
    on_step("making input sets")
    truths: list[Truth] = []
    skipped: list[str] = []
    for inputs in _input_sets(manifest, golden, held_out, eager, plan=plan, seed=seed):
        on_step(f"eager module on {inputs.name}")
        truth, why = _truth(inputs, eager, truths[0] if truths else None)
        truths += [truth] if truth else []
        skipped += [why] if why else []
    return truths, tuple(skipped)


def _input_sets(
    manifest: Manifest, golden: Golden, held_out: HeldOut, eager: Eager, *, plan: Plan, seed: int
) -> Iterator[InputSet]:
    for inputs in _all_input_sets(manifest, golden, held_out, eager, plan=plan, seed=seed):
        if manifest.row_independent:
            yield inputs
        elif inputs.kind != "hostile" and (inputs.kind != "again" or inputs.batch_size == 1):
            yield replace(inputs, batch_size=1)


def _all_input_sets(
    manifest: Manifest, golden: Golden, held_out: HeldOut, eager: Eager, *, plan: Plan, seed: int
) -> list[InputSet]:
    def decided(inputs: Arrays) -> NDArray[np.int64]:
        return decide(eager.run(inputs)["logits"])

    predict: Predict | None = decided if "classification" in manifest.task else None
    single = len(manifest.inputs) == 1
    if single and manifest.preprocessing is not None:
        return image_input_sets(held_out.inputs, predict=predict, seed=seed, plan=plan)
    if single and manifest.features:
        return table_input_sets(held_out.inputs, manifest.features, predict=predict, seed=seed, plan=plan)
    return tensor_input_sets(held_out.inputs, golden.inputs, predict=predict, seed=seed, plan=plan)


def _truth(inputs: InputSet, eager: Eager, first: Truth | None) -> tuple[Truth | None, str | None]:
    """Run one input set through the eager module; what it gives no finite outputs for proves nothing.

    Args:
        inputs: The set.
        eager: The module.
        first: The truth of the samples, or None for the samples themselves: those stay, whatever comes out.

    Returns:
        The truth over the rows that prove something, and the sentence that says which do not; or None for either.
    """
    try:
        # before the reference, which may leave something behind where forward keeps what it computes
        computed = eager.run(inputs.inputs, batch_size=inputs.batch_size, sizes=inputs.sizes)
        if first is not None and inputs.known is not None:
            reference = take(first.reference, inputs.known)
        else:
            reference = eager.run64(inputs.inputs)
    except ParityError:
        raise
    except (RuntimeError, IndexError, ValueError) as error:
        if first is None:
            raise
        why = first_line(error)
        return None, f"{inputs.name}: PyTorch itself fails on them ({why})"
    finite = inputs.judged & finite_rows(reference) & finite_rows(computed)
    missing = int((inputs.judged & ~finite).sum())
    if not missing:
        return Truth(inputs=inputs, reference=reference, eager=computed), None
    judged = int(inputs.judged.sum())
    why = f"{inputs.name}: PyTorch itself gives no finite outputs for {missing} of {judged} rows"
    if missing == judged and first is not None:
        return None, why
    return Truth(inputs=replace(inputs, judged=finite), reference=reference, eager=computed), why


def fewest(truths: Sequence[Truth]) -> list[Truth]:
    """Return the samples, and those of them that come again one at a time: what is run where a row costs much."""
    return [
        truth
        for truth in truths
        if truth.inputs.kind == "samples" or (truth.inputs.kind == "again" and truth.inputs.batch_size == 1)
    ]


def finite_rows(outputs: Arrays) -> NDArray[np.bool_]:
    """Return which rows are finite in every output, ``(rows,)``."""
    rows = [np.isfinite(values).reshape(len(values), -1).all(axis=1) for values in outputs.values()]
    return np.asarray(np.logical_and.reduce(rows))
