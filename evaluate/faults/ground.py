"""A right module with its truths: what every fault and every variant of it is judged by."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.eager import Eager
from evaluate.faults.subjects import Subject, build_module, draw_samples, runner_of
from evaluate.plan import FULL, QUICK, Plan
from evaluate.source import HeldOut
from evaluate.truth import Truth, truths_of
from export.deployable import to_float64
from serve.batcher import JOB_ROWS
from serve.bundle import SCHEMA_VERSION, Manifest, Provenance
from serve.golden import Golden


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """One subject with weights.

    Attributes:
        module: The deployable module.
        samples: What stands for held-out samples.
        truths: Every input set with what the module makes of it, as the certificate has them.
        largest: Greatest value of the first output over the samples.
    """

    subject: Subject
    scale: float
    seed: int
    module: nn.Module
    samples: dict[str, NDArray[Any]]
    truths: list[Truth]

    @property
    def largest(self) -> float:
        """Greatest value of the first output over the samples."""
        return float(np.abs(self.truths[0].reference[self.subject.outputs[0].name]).max())


def prepare(subject: Subject, *, scale: float, seed: int, quick: bool) -> Ground:
    """Build a module and run it on the input sets of a certificate.

    Args:
        subject: The architecture.
        scale: Of its outputs.
        seed: Of its weights; the samples stay the same.
        quick: Those of a quick certificate.
    """
    samples = draw_samples(subject, seed=0)
    module = build_module(subject, samples, scale=scale, seed=seed)
    eager = Eager(module=module, single=runner_of(module, subject), double=runner_of(to_float64(module), subject))
    rows = len(next(iter(samples.values())))
    nothing = np.full(rows, -1, dtype=np.int64)
    golden = Golden(
        inputs=samples,
        eager=eager.run(samples),
        reference=eager.run64(samples),
        class_index=nothing,
        kind=np.full(rows, "held-out"),
    )
    plan: Plan = replace(QUICK if quick else FULL, samples=rows)
    plan = replace(plan, batch_sizes=tuple(size for size in plan.batch_sizes if size < JOB_ROWS))  # a third of the time
    held_out = HeldOut(inputs=samples, targets=None, source="made up")
    truths, _ = truths_of(_manifest(subject), golden, held_out, eager, plan=plan, seed=0)
    return Ground(subject=subject, scale=scale, seed=seed, module=module, samples=samples, truths=truths)


def double_of(module: nn.Module) -> nn.Module:
    """Return a copy of a module, right or wrong, that computes in float64."""
    with torch.no_grad():
        return to_float64(module)


def _manifest(subject: Subject) -> Manifest:
    """Describe a subject as a bundle would; nothing of it is on disk."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        sha256="0" * 64,
        name=subject.name,
        task=subject.task,
        labels=subject.labels,
        inputs=subject.inputs,
        outputs=subject.outputs,
        preprocessing=subject.preprocessing,
        files=(),
        features=subject.features,
        provenance=Provenance(
            recipe=None, factory="", factory_args={}, mean=subject.mean, std=subject.std, seed=None, dataset="",
            dataset_sha256="", device="cpu", versions={}, source_revision=None,
        ),
    )  # fmt: skip
