"""Triton: a model repository around ``graph.onnx`` for NVIDIA's server, which runs it with ONNX Runtime, too."""

import os
import re
import shutil
from pathlib import Path

from export.errors import ExportError
from export.graph_job import GraphFile, GraphJob
from export.onnx_graph import GRAPH, weights_path
from serve.bundle import NAME, DType, TensorSpec

REPOSITORY = "triton"
LABELS = "labels.txt"
MAX_BATCH = 64
"""Most rows of one run: the greatest batch that `python -m evaluate parity` judges."""

_TYPES: dict[DType, str] = {
    "uint8": "TYPE_UINT8",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}


def write_triton(job: GraphJob) -> tuple[GraphFile, ...]:
    """Write ``triton/NAME``: its configuration, its labels, and ``graph.onnx`` once more, where Triton looks for it.

    Raises:
        ExportError: there is no ``graph.onnx``, the name is no folder's, or a label is not one line.
    """
    graph = job.folder / GRAPH
    if not graph.exists():
        raise ExportError(f"triton is made from {GRAPH}, which is not written; give --formats onnx triton")
    if not re.fullmatch(NAME, job.name):
        raise ExportError(
            f"model name is {job.name!r}, but only letters, digits, '.', '_' and '-' may stand in it; give --name"
        )
    model = job.folder / REPOSITORY / job.name
    version = model / "1"
    version.mkdir(parents=True)
    labelled = _labelled(job)
    files = [model / "config.pbtxt", version / "model.onnx"]
    files[0].write_text(model_config(job), encoding="utf-8")
    _link(graph, files[1])
    if labelled:
        files.append(model / LABELS)
        files[-1].write_text("".join(f"{label}\n" for label in job.labels), encoding="utf-8")
    weights = weights_path(graph)
    if weights.exists():
        files.append(version / weights.name)
        _link(weights, files[-1])
    return tuple(
        GraphFile(
            path=file.relative_to(job.folder).as_posix(),
            format="triton",
            precision="float32" if file.suffix == ".onnx" else None,
        )
        for file in files
    )


def model_config(job: GraphJob) -> str:
    """Return ``config.pbtxt``, protobuf's text form of Triton's ModelConfig."""
    labelled = _labelled(job)
    lines = [
        f"name: {_quote(job.name)}",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {MAX_BATCH}",
        *(line for spec in job.inputs for line in _tensor("input", spec, label_file=None)),
        *(
            line
            for spec in job.outputs
            for line in _tensor("output", spec, label_file=LABELS if spec.name == labelled else None)
        ),
        "dynamic_batching { }",
    ]
    return "\n".join(lines) + "\n"


def _labelled(job: GraphJob) -> str | None:
    """Return the output whose positions are the labels, or None: one probability alone is no position.

    Raises:
        ExportError: a label holds a line break.
    """
    name = next((s.name for s in job.outputs if s.name == "probabilities" and s.shape[1:] == (len(job.labels),)), None)
    broken = next((label for label in job.labels if len(label.splitlines()) != 1), None)
    if name is not None and broken is not None:
        raise ExportError(
            f"label {broken!r} is not one line, but Triton's {LABELS} has one label a line; rename it, or leave triton "
            "out"
        )
    return name


def _tensor(kind: str, spec: TensorSpec, *, label_file: str | None) -> list[str]:
    dims = ", ".join(str(dim) if isinstance(dim, int) else "-1" for dim in spec.shape[1:])
    lines = [f"{kind} {{", f"  name: {_quote(spec.name)}", f"  data_type: {_TYPES[spec.dtype]}"]
    lines += [f"  dims: [ {dims} ]"] if dims else ["  dims: [ 1 ]", "  reshape { shape: [ ] }"]
    if label_file is not None:
        lines.append(f"  label_filename: {_quote(label_file)}")
    return [*lines, "}"]


def _quote(text: str) -> str:
    """Return a string as protobuf's text form writes it."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def _link(source: Path, target: Path) -> None:
    """Put a file into a second place, without a second copy on disk where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
