"""Whether a fault changes the function at all: a test that no rule under trial has a say in."""

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from evaluate.faults.subjects import Subject, runner_of
from evaluate.inputs import Arrays, take
from evaluate.reference_graph import DoubleRunner
from evaluate.truth import Truth
from export.deployable import to_float64
from export.module_runner import run_batches
from serve.runner import Runner

_FAR = 1000.0
STATED = (
    "A fault is harmless where, on every output and every input set, the wrong module in float64 differs from the\n"
    "right one in float64 by less than one unit in the last place of float32 at the output's scale, and by no more\n"
    "than PyTorch's own greatest float32 error there, and the wrong module in float32 is finite wherever the right\n"
    "one is."
)


def module_is_harmless(wrong: nn.Module, subject: Subject, truths: list[Truth]) -> bool:
    """Return whether a wrong module computes what the right one does, by the test in `STATED`.

    Args:
        wrong: In float32; it is not changed.
        subject: Its architecture.
        truths: Every input set with what the right module makes of it.
    """
    double, single = runner_of(to_float64(wrong), subject), runner_of(wrong, subject)
    for truth in truths:
        inputs = truth.inputs
        try:
            exact = run_batches(double, inputs.inputs, batch_size=inputs.batch_size)
            if not _same_function(exact, truth):
                return False
            rounded = run_batches(single, inputs.inputs, batch_size=inputs.batch_size)
        except (RuntimeError, ValueError, IndexError):
            return False
        if not all(np.isfinite(values[inputs.judged]).all() for values in rounded.values()):
            return False
    return True


def effect_of(wrong: Runner, truths: list[Truth]) -> float:
    """Return how far outputs move in float64, as a multiple of eager's greatest error in float32; infinite if 0.

    Args:
        wrong: The wrong module or graph in float64.
        truths: Every input set with what the right module makes of it.
    """
    worst = 0.0
    for truth in truths:
        judged = truth.inputs.judged
        exact = run_batches(wrong, truth.inputs.inputs, batch_size=truth.inputs.batch_size)
        for name, reference in truth.reference.items():
            own = float(np.abs(truth.eager[name][judged] - reference[judged]).max())
            moved = float(np.abs(exact[name][judged] - reference[judged]).max())
            worst = max(worst, 0.0 if moved == 0 else moved / own if own else math.inf)
    return worst


class GraphTest:
    """The same test for ONNX graphs, by ONNX's reference implementation in float64.

    Args:
        right: The right graph; its own float64 outputs are what a wrong one's are compared with.
        truths: Every input set with what the right module makes of it.
        outputs: Of the right graph in float32, by input set.
    """

    def __init__(self, right: onnx.ModelProto, truths: list[Truth], outputs: list[Arrays | None]) -> None:
        self._right = DoubleRunner(right)
        self._truths = truths
        self._outputs = outputs
        self._exact: dict[tuple[int, int], Arrays] = {}

    def is_harmless(self, wrong: onnx.ModelProto, outputs: list[Arrays | None]) -> bool:
        """Return whether a graph computes what the right one does.

        Args:
            wrong: The graph that was edited.
            outputs: Its own in float32, by input set; None where it failed.
        """
        sets = list(zip(self._truths, self._outputs, outputs, strict=True))
        if any(have is None or want is None or self._far(truth, have, want) for truth, want, have in sets):
            return False
        double = DoubleRunner(wrong)
        for index, truth in enumerate(self._truths):
            size, rows = truth.inputs.batch_size, len(truth.inputs.judged)
            for start in range(0, rows, size):
                batch = take(truth.inputs.inputs, slice(start, start + size))
                if (index, start) not in self._exact:
                    self._exact[index, start] = self._right.run(batch)
                exact, judged = self._exact[index, start], truth.inputs.judged[start : start + size]
                for name, values in double.run(batch).items():
                    if not within(values[judged], exact[name][judged], truth, name):
                        return False
        return True

    @staticmethod
    def _far(truth: Truth, have: Arrays, want: Arrays) -> bool:
        """Return whether float32 outputs differ so much that float64, which is slow, need not be asked."""
        judged = truth.inputs.judged
        for name, reference in truth.reference.items():
            if not np.isfinite(have[name][judged]).all():
                return True
            own = float(np.abs(truth.eager[name][judged] - reference[judged]).max())
            unit = float(np.spacing(np.float32(np.abs(reference[judged]).max())))
            difference = np.abs(have[name][judged].astype(np.float64) - want[name][judged]).max(initial=0.0)
            if difference > _FAR * max(own, unit):
                return True
        return False


def within(wrong: NDArray[Any], right: NDArray[Any], truth: Truth, name: str) -> bool:
    """Return whether float64 outputs of some rows are the same, as far as float32 can tell."""
    judged = truth.inputs.judged
    reference = truth.reference[name][judged]
    difference = float(np.abs(wrong - right).max(initial=0.0))
    own = float(np.abs(truth.eager[name][judged] - reference).max())
    return difference < float(np.spacing(np.float32(np.abs(reference).max()))) and difference <= own


def _same_function(exact: Arrays, truth: Truth) -> bool:
    judged = truth.inputs.judged
    return all(
        exact[name].shape == reference.shape and within(exact[name][judged], reference[judged], truth, name)
        for name, reference in truth.reference.items()
    )
