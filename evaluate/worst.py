"""Seek the inputs on which a graph is furthest from the truth and, to be fair, those on which PyTorch itself is."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.ascent import STEPS, walk
from evaluate.domain import Domain, change, domain_of
from evaluate.eager import Eager
from evaluate.graph_verdict import Search
from evaluate.inputs import Arrays, InputSet, count, first_rows, join, take
from evaluate.runners import RUN_ERRORS
from evaluate.trouble import ParityError
from evaluate.truth import Truth, finite_rows
from evaluate.units import error_units
from export.module_runner import run_batches
from serve.bundle import Manifest
from serve.runner import Runner

# each of them seeks for one output, or one target of a regression, in turn
CLIMBERS = 32
SOUGHT = "inputs sought for the greatest error"
_EAGER_ERRORS = (RuntimeError, IndexError, ValueError)
_NOT_JUDGED = -1.0
_STARTS = ("samples", "noise", "boundary")

Outputs = dict[str, NDArray[Any]]
_Run = Callable[[Arrays], Outputs]


class SoughtError(Exception):
    """A graph that does not run on rows that PyTorch runs on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """Rows that something is furthest off on, of those that it met."""

    rows: Outputs
    errors: NDArray[np.float64]
    before: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answer:
    """What PyTorch gives for rows, in float32 and in float64."""

    eager: Outputs
    reference: Outputs


class Seeker:
    """Seeks on one network: for eager at once, for each graph when asked.

    Both begin with the rows already run and those that a walk along eager's gradients meets, climb from the worst of
    them by the same changes, and try as many rows. So what is found to be bad for a graph stands beside what is as bad
    as can be for eager, and a right graph is not condemned by rows that were chosen against it alone. What is judged by
    itself, as each target of a regression is, has rows of its own that are bad for it, of either kind.

    Args:
        manifest: The bundle's.
        eager: Its module.
        truths: All input sets that were run; the first is that of the samples.
        steps: How often every climber is changed.
        seed: Decides what is tried.

    Attributes:
        notes: What could not be done, in sentences.
    """

    def __init__(self, manifest: Manifest, eager: Eager, truths: list[Truth], *, steps: int, seed: int) -> None:
        self._eager = eager
        self._steps = steps
        self._seed = seed
        self._known: dict[bytes, _Answer | None] = {}
        self._domain: Domain = domain_of(manifest, truths)
        self._names = tuple(spec.name for spec in manifest.inputs)
        self._batch_size = min(CLIMBERS, eager.batch_size)
        self._units = error_units(truths[0])
        self._starts = [truth for truth in truths if truth.inputs.kind in _STARTS]
        rng = np.random.default_rng(seed)
        begun = first_rows(self._rows(self._starts[0]), CLIMBERS)
        images = manifest.preprocessing is not None
        begun = change(begun, begun, self._domain, rng)
        why: list[str] = []
        met = walk(eager.module, begun, self._domain, bytes_too=images, rng=rng, on_stop=why.append)
        self.notes = tuple(
            f"{SOUGHT}: after {len(met)} of {STEPS} steps, there was no way along PyTorch's gradients ({reason})"
            for reason in why
        )
        self._met = [(rows, self._answer(rows)) for rows in met]
        self._own = self._seek(None, [truth.eager for truth in self._starts])

    @property
    def tried(self) -> int:
        """How many rows each search runs that no other set has."""
        return CLIMBERS * (len(self._met) + self._steps)

    def seek(self, runner: Runner, outputs: Mapping[str, Outputs]) -> tuple[Truth, Search]:
        """Seek for one graph that is right so far.

        Args:
            runner: Runs it.
            outputs: What it gave on the sets already run, by their names.

        Returns:
            The rows that it is to be judged on, one half the worst for eager and the other the worst for it; and what
            was gained.

        Raises:
            SoughtError: the graph fails.
        """

        def run(rows: Arrays) -> Outputs:
            try:
                return run_batches(runner, rows, batch_size=self._batch_size)
            except RUN_ERRORS as error:
                raise SoughtError(str(error)) from error

        found = self._seek(run, [outputs[truth.inputs.name] for truth in self._starts])
        rows, answer = self._answered(join(self._own.rows, found.rows))
        inputs = InputSet(
            name=SOUGHT,
            kind="sought",
            inputs=rows,
            batch_size=self._batch_size,
            judged=finite_rows(answer.reference) & finite_rows(answer.eager),
        )
        worst = float(found.errors.max())
        search = Search(
            rows=self.tried,
            graph_before=found.before,
            graph_after=worst if math.isfinite(worst) else None,
            eager_before=self._own.before,
            eager_after=float(self._own.errors.max()),
        )
        return Truth(inputs=inputs, reference=answer.reference, eager=answer.eager), search

    def _seek(self, run: _Run | None, known: Sequence[Outputs]) -> _Found:
        """Climb from the worst rows of all that are known or met, for what runs them; None is eager."""
        rng = np.random.default_rng((self._seed, 1))
        places = [self._rows(truth) for truth in self._starts] + [rows for rows, _ in self._met]
        errors = [
            np.where(truth.inputs.judged[:, None], self._errors(outputs, truth.reference), _NOT_JUDGED)
            for truth, outputs in zip(self._starts, known, strict=True)
        ]
        before = float(max(own.max() for own in errors))
        met = np.concatenate(errors + [self._measure(run, *met) for met in self._met])
        order = np.argsort(-met, axis=0, kind="stable")
        climber = np.arange(CLIMBERS)
        follows = climber % met.shape[1]
        best = order[climber // met.shape[1], follows]
        reached = met[best, follows]
        rows = {name: np.concatenate([place[name] for place in places])[best] for name in self._names}
        company = self._rows(self._starts[0])
        for _ in range(self._steps):
            changed = change(rows, company, self._domain, rng)
            found = self._measure(run, changed, self._answer(changed))[climber, follows]
            higher = found > reached
            reached = np.where(higher, found, reached)
            rows = {
                name: np.where(higher.reshape(-1, *(1 for _ in values.shape[1:])), changed[name], values)
                for name, values in rows.items()
            }
        return _Found(rows=rows, errors=reached, before=before)

    def _measure(self, run: _Run | None, rows: Outputs, answer: _Answer | None) -> NDArray[np.float64]:
        """Return the errors of each row, and less than any where PyTorch itself has no finite outputs for it."""
        if answer is None:
            return np.full((count(rows), self._followed), _NOT_JUDGED)
        outputs = answer.eager if run is None else run(rows)
        errors = self._errors(outputs, answer.reference)
        return np.where(finite_rows(answer.eager)[:, None], errors, _NOT_JUDGED)

    @property
    def _followed(self) -> int:
        """How many things climbers follow: each part that is judged by itself, or several where there are many."""
        return min(sum(len(units) for units in self._units.values()), CLIMBERS)

    def _errors(self, outputs: Arrays, reference: Arrays) -> NDArray[np.float64]:
        """Return the greatest error of each row, ``(rows, followed)``, in the unit of the output or target.

        It is infinite where there is no number.
        """
        rows = len(next(iter(reference.values())))
        parts = []
        for name, units in self._units.items():
            values, expected = outputs[name], reference[name]
            wrong = values != expected if values.dtype.kind in "iu" else np.abs(values.astype(np.float64) - expected)
            parts.append(wrong.reshape(rows, len(units), -1).max(axis=2) / units)
        error = np.concatenate(parts, axis=1)
        error = np.where(np.isnan(error), np.inf, error)
        found = np.stack([error[:, i :: self._followed].max(axis=1) for i in range(self._followed)], axis=1)
        return np.where(finite_rows(reference)[:, None], found, _NOT_JUDGED)

    def _answer(self, rows: Outputs) -> _Answer | None:
        """Run rows in PyTorch, unless another graph has come to the very same ones, as those with eager's bits do."""
        digest = hashlib.sha256()
        for values in rows.values():
            digest.update(values.tobytes())
        key = digest.digest()
        if key not in self._known:
            self._known[key] = self._try(rows)
        return self._known[key]

    def _ask(self, rows: Arrays) -> _Answer:
        # before the reference, which may leave something behind where forward keeps what it computes
        eager = self._eager.run(rows, batch_size=self._batch_size)
        return _Answer(eager=eager, reference=self._eager.run64(rows))

    def _try(self, rows: Arrays) -> _Answer | None:
        try:
            return self._ask(rows)
        except ParityError:
            raise
        except _EAGER_ERRORS:  # an index, say, that float32 rounds to one past the end
            return None

    def _answered(self, rows: Outputs) -> tuple[Outputs, _Answer]:
        """Leave out the rows that PyTorch itself fails on."""
        answer = self._try(rows)
        if answer is None:
            alone = (take(rows, slice(index, index + 1)) for index in range(count(rows)))
            kept = np.asarray([self._try(row) is not None for row in alone])
            rows = take(rows, kept) if kept.any() else rows
        return rows, answer or self._ask(rows)

    def _rows(self, truth: Truth) -> Outputs:
        return {name: truth.inputs.inputs[name] for name in self._names}
