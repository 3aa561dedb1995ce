"""TorchScript: tracing, writing, loading. torch deprecates all three, and their warnings are silenced only here."""

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from export.batch_sizes import check_batch_sizes
from export.errors import ExportError
from export.graph_job import GraphFile, GraphJob
from serve.bundle import TensorSpec

GRAPH = "graph.torchscript.pt"


def write_torchscript(job: GraphJob) -> tuple[GraphFile, ...]:
    """Write ``graph.torchscript.pt``; see `export_torchscript`."""
    export_torchscript(job.module, job.examples, job.folder / GRAPH, outputs=job.outputs)
    return (GraphFile(path=GRAPH, format="torchscript", precision="float32"),)


def export_torchscript(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    *,
    outputs: tuple[TensorSpec, ...],
) -> None:
    """Trace a module and write it.

    Args:
        module: The deployable module, in evaluation mode.
        examples: One batch of each input, of at least two rows.
        path: File to write.
        outputs: Names, dtypes and shapes of what it returns, in order.

    Raises:
        ExportError: tracing met a decision that depends on the data, which the file would hold as a constant; or the
            file returns other shapes or dtypes than asked, or only for the batch size of the example.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # the tracer's own check repeats the same inputs and only warns; parity judges the file instead
        traced = torch.jit.trace(module, examples, check_trace=False)  # type: ignore[no-untyped-call]
        stream = io.BytesIO()
        torch.jit.save(traced, stream)
    path.write_bytes(_without_source_lines(stream.getvalue()))
    if caught:
        raise ExportError(
            f"{type(module).__name__} decides by its data, and a trace would hold that decision as a constant "
            f"({str(caught[0].message).splitlines()[0]}); write it with tensor operations"
        )
    check_batch_sizes(
        load_torchscript(path.read_bytes()), examples, outputs=outputs, subject="the TorchScript graph was traced"
    )


def _without_source_lines(archive: bytes) -> bytes:
    """Copy an archive without its debug records: they hold the absolute paths of the machine it was made on."""
    reader = torch._C.PyTorchFileReader(io.BytesIO(archive))
    copy = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(copy)
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and name not in {"version", "byteorder", ".data/serialization_id"}:
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return copy.getvalue()


def load_torchscript(content: bytes) -> torch.jit.ScriptModule:
    """Load a TorchScript file from bytes that were checked before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        graph: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
        return graph
