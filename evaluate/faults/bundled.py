"""A right module as a bundle on disk, and the same bundle with one wrong graph: judged through the command line."""

import hashlib
import io
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch

from evaluate.faults.graphs import ONNX, TORCHSCRIPT
from evaluate.faults.ground import Ground
from evaluate.faults.subjects import Subject
from evaluate.in_process import HOLDS, Judged, judge_here
from evaluate.resealed import change_manifest
from export.draft import Draft
from export.factory import load_factory
from export.golden_inputs import golden_features, golden_images
from export.quiet import quiet
from export.write import write_bundle
from serve.bundle import MANIFEST, Manifest, Provenance

Graph = onnx.ModelProto | torch.jit.ScriptModule
_GRAPHS = (ONNX, TORCHSCRIPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Through:
    """What the command line made of one bundle.

    Attributes:
        code: Exit code on the samples that the bundle carries.
        reason: What kept it from 0, or None.
        code_with_data: Where it is 0, exit code on all samples, given with ``--data``; None elsewhere.
    """

    code: int
    reason: str | None
    code_with_data: int | None


class Bundled:
    """Bundles of one module. Each holds its weights, and golden outputs that are right.

    Like a network of one's own, it has no recipe: what it is judged on first are the few samples that it carries.

    Args:
        ground: The right module.
        folder: An empty one, for the bundles.
    """

    def __init__(self, ground: Ground, folder: Path) -> None:
        self._right = folder / "right"
        self._wrong = folder / "wrong"
        subject = ground.subject
        self._factory = () if subject.is_recipes else ("--factory", subject.factory)
        write_bundle(self._right, _draft(ground), formats=("onnx", "torchscript"))
        self._data = folder / "samples.npz"
        np.savez(self._data, **ground.samples)  # type: ignore[arg-type]

    def judge_right(self, *options: str) -> Judged:
        """Judge the bundle as the exporter wrote it."""
        return judge_here(self._right, *self._options, *options)

    def judge_graph(self, graph: Graph) -> Through:
        """Judge the bundle with a graph in place of both of its own; all digests fit."""
        self._exchange(graph)
        judged = judge_here(self._wrong, *self._options)
        again = judge_here(self._wrong, *self._options, "--data", str(self._data)) if judged.code == HOLDS else None
        return Through(code=judged.code, reason=judged.reason, code_with_data=again.code if again else None)

    def _exchange(self, graph: Graph) -> None:
        name, content = _encode(graph)
        shutil.rmtree(self._wrong, ignore_errors=True)
        self._wrong.mkdir()
        for file in self._right.iterdir():
            if file.name == MANIFEST:
                shutil.copyfile(file, self._wrong / MANIFEST)
            elif file.name not in _GRAPHS:
                os.link(file, self._wrong / file.name)
        (self._wrong / name).write_bytes(content)

        def exchanged(manifest: Manifest) -> Manifest:
            digest = hashlib.sha256(content).hexdigest()
            return replace(
                manifest,
                files=tuple(
                    replace(entry, size_bytes=len(content), sha256=digest) if entry.path == name else entry
                    for entry in manifest.files
                    if entry.path == name or entry.path not in _GRAPHS
                ),
            )

        change_manifest(self._wrong, exchanged)

    @property
    def _options(self) -> tuple[str, ...]:
        return ("--provider", "cpu", *self._factory)


def _encode(graph: Graph) -> tuple[str, bytes]:
    if isinstance(graph, onnx.ModelProto):
        return ONNX, graph.SerializeToString()
    stream = io.BytesIO()
    with quiet():
        torch.jit.save(graph, stream)
    return TORCHSCRIPT, stream.getvalue()


def _draft(ground: Ground) -> Draft:
    """Say what a bundle of a module is made of, as for a run, but that no data and no recipe is named."""
    subject = ground.subject
    (spec,) = subject.inputs
    rows = ground.samples[spec.name]
    unknown = np.full(len(rows), -1, dtype=np.int64)
    golden, class_index, kind = (
        golden_features(rows, unknown, subject.features) if subject.features else golden_images(rows, unknown)
    )
    return Draft(
        name=subject.name,
        title=f"The subject {subject.name} of `python -m evaluate faults`",
        task=subject.task,
        labels=subject.labels,
        module=ground.module,
        weights=ground.module.get_submodule("network").state_dict(),
        inputs=subject.inputs,
        outputs=subject.outputs,
        preprocessing=subject.preprocessing,
        features=subject.features,
        provenance=Provenance(
            recipe=None, factory=subject.factory, factory_args=subject.factory_args, factory_sha256=_digest(subject),
            mean=subject.mean, std=subject.std, seed=ground.seed, dataset="", dataset_sha256="", device="cpu",
            versions={}, source_revision=None,
        ),
        golden_inputs={spec.name: golden},
        golden_class_index=class_index,
        golden_kind=kind,
    )  # fmt: skip


def _digest(subject: Subject) -> str | None:
    return None if subject.is_recipes else load_factory(subject.factory).sha256
