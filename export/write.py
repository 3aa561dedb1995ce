"""Write a bundle whole or not at all: into a temporary sibling, checksummed, the manifest last, then renamed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from export.deployable import to_float64
from export.disk import check_disk, torch_file
from export.draft import Draft
from export.errors import ExportError
from export.first_line import first_line
from export.formats import DEFAULT_FORMATS, FORMATS, Writer
from export.golden_inputs import leave_out_unanswered
from export.graph_job import GraphFile, GraphJob
from export.manifest_file import sync, write_manifest
from export.memory import release_memory
from export.model_card import model_card
from export.module_runner import ModuleRunner, run_batches
from export.opset import check_opset
from export.preflight import Findings, preflight
from export.progress import SILENT, Listener, Step
from export.target import check_target
from export.workplace import NEW, OLD, workplace
from serve.bundle import MANIFEST, FileEntry, Format, Manifest, Precision
from serve.golden import Golden, encode_golden
from train.write import swap_directory

_EXAMPLE_ROWS = 2
_GOLDEN_BATCH = 64


def write_bundle(
    target: Path,
    draft: Draft,
    *,
    formats: tuple[str, ...] = DEFAULT_FORMATS,
    opset: int | None = None,
    listener: Listener = SILENT,
) -> Manifest:
    """Export a module into a bundle directory; an existing bundle there is replaced only when the new one is whole.

    Args:
        target: The bundle's directory.
        draft: What to write.
        formats: Keys of `export.formats.FORMATS`.
        opset: ONNX operator set that the graphs must have; the exporter's own where it is None.
        listener: Is told what goes on.

    Returns:
        The manifest as written.

    Raises:
        ExportError: the target is something else than a bundle, the module is none that a graph can stand for, or a
            graph cannot be written as asked; or the disk is full.
    """
    check_opset(opset, formats)
    check_target(target)
    weights_bytes = sum(tensor.nbytes for tensor in draft.weights.values())
    release_memory(weights_bytes)
    with workplace(target) as folder:
        with listener.step("network looked over", "looking the network over"):
            findings = preflight(draft)
        release_memory(weights_bytes)
        try:
            manifest = _write_files(folder / NEW, draft, findings, formats=formats, opset=opset, listener=listener)
            check_target(target)  # once more: in the minutes since, something may have been put there
            swap_directory(target, folder / NEW, aside=folder / OLD)
        except OSError as error:
            if error.errno is None:  # not from the system
                raise
            raise ExportError(
                f"bundle {target} cannot be written ({error}); free the place or give another --out"
            ) from error
    for note in findings.notes:  # of a bundle that is there: beside a refusal they would promise one
        listener.on_note(note)
    return manifest


def golden_of(draft: Draft, *, batch_size: int = _GOLDEN_BATCH) -> Golden:
    """Run the golden inputs through the eager module, in float32 and in float64; `batch_size` rows at a time."""
    inputs = dict(draft.golden_inputs)
    names = {"inputs": tuple(inputs), "outputs": tuple(spec.name for spec in draft.outputs)}
    golden = Golden(
        inputs=inputs,
        eager=run_batches(ModuleRunner(draft.module, **names), inputs, batch_size=batch_size),
        reference=run_batches(ModuleRunner(to_float64(draft.module), **names), inputs, batch_size=batch_size),
        class_index=draft.golden_class_index,
        kind=draft.golden_kind,
    )
    return leave_out_unanswered(golden)


def _write_files(
    directory: Path,
    draft: Draft,
    findings: Findings,
    *,
    formats: tuple[str, ...],
    opset: int | None,
    listener: Listener,
) -> Manifest:
    entries: list[FileEntry] = []
    weights_bytes = sum(tensor.nbytes for tensor in draft.weights.values())

    def record(
        path: str, file_format: Format, start: float, *, precision: Precision | None = None, note: str = ""
    ) -> None:
        size_bytes, sha256 = sync(directory / path)
        entries.append(
            FileEntry(
                path=path, format=file_format, precision=precision, size_bytes=size_bytes, sha256=sha256, note=note
            )
        )
        listener.on_step(Step(name=path, size_bytes=size_bytes, duration_s=time.perf_counter() - start))

    @contextmanager
    def entry(path: str, file_format: Format, doing: str) -> Iterator[Path]:
        listener.on_start(doing)
        start = time.perf_counter()
        yield directory / path
        record(path, file_format, start)
        release_memory(weights_bytes)

    job = GraphJob(
        name=draft.name,
        labels=draft.labels,
        module=draft.module,
        examples=tuple(
            torch.from_numpy(np.ascontiguousarray(draft.golden_inputs[spec.name][:_EXAMPLE_ROWS]))
            for spec in draft.inputs
        ),
        inputs=draft.inputs,
        outputs=draft.outputs,
        calibration=draft.calibration,
        folder=directory,
        opset=opset,
        on_start=listener.on_start,
    )
    for name, write in FORMATS.items():
        if name in formats:
            listener.on_start(f"writing {name}")
            start = time.perf_counter()
            for graph in _write_graph(name, write, job):
                record(graph.path, graph.format, start, precision=graph.precision, note=graph.note)
                start = time.perf_counter()
            release_memory(weights_bytes)
    graphs = tuple(entries)
    with entry("state_dict.pt", "state-dict", "writing the weights") as file, torch_file(file) as content:
        torch.save({key: value.detach().cpu().contiguous() for key, value in draft.weights.items()}, content)
    with entry("golden.npz", "golden", "running the golden inputs in float32 and float64") as file:
        golden = golden_of(draft, batch_size=_GOLDEN_BATCH if findings.row_independent else 1)
        file.write_bytes(encode_golden(golden))
    with entry("model-card.md", "model-card", "writing the model card") as file:
        card = model_card(
            name=draft.name,
            title=draft.title,
            labels=draft.labels,
            inputs=draft.inputs,
            outputs=draft.outputs,
            preprocessing=draft.preprocessing,
            features=draft.features,
            provenance=draft.provenance,
            graphs=graphs,
        )
        file.write_text(card, encoding="utf-8")
    start = time.perf_counter()
    manifest = write_manifest(directory, draft, tuple(entries), row_independent=findings.row_independent)
    size_bytes = (directory / MANIFEST).stat().st_size
    listener.on_step(Step(name=MANIFEST, size_bytes=size_bytes, duration_s=time.perf_counter() - start))
    return manifest


def _write_graph(name: str, write: Writer, job: GraphJob) -> tuple[GraphFile, ...]:
    try:
        return write(job)
    except RuntimeError as error:  # what an exporter of torch raises where it cannot follow, in one of many ways
        check_disk(job.folder)  # ... or cannot write
        raise ExportError(
            f"{name} cannot hold this network ({first_line(error)}); write forward with torch's own "
            f"operations and plain names, or leave {name} out of --formats"
        ) from error
