"""TorchScript: tracing, writing, loading. torch deprecates all three, and their warnings are silenced only here."""

import io
import re
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from export.batch_sizes import check_batch_sizes
from export.disk import check_disk, torch_file
from export.errors import ExportError
from export.first_line import first_line
from export.graph_job import GraphFile, GraphJob
from export.held_tensors import part_name
from export.observe import value_reads
from export.torchscript_code import check_code, file_operator
from serve.bundle import BundleError, TensorSpec

GRAPH = "graph.torchscript.pt"
_CLASS_NUMBER = re.compile(rb"___torch_mangle_(\d+)")


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
            file returns other shapes or dtypes than asked, or only for the batch size of the example; or a part has the
            name of an operator on files, so that the file would not be loaded.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # the tracer's own check repeats the same inputs and only warns; parity judges the file instead
        # and the second trace is kept: in the first of a process, classes may have names without a number
        for _ in range(2):
            traced = _trace(module, examples)
    # the tracer says the same of sizes, which the check of batch sizes below holds against the module itself
    readers = value_reads(module, examples) if caught else ()
    if readers:
        raise ExportError(
            f"{part_name(module, readers[0])} decides by its data, and a trace would hold that decision as a constant "
            f"({str(caught[0].message).splitlines()[0]}); write it with tensor operations"
        )
    with tempfile.TemporaryDirectory(dir=path.parent) as place:  # files, because weights may be large
        raw = Path(place) / path.name
        # both files; on a full disk, torch's writer would end the process
        check_disk(path.parent, 2 * sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers())))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(traced, raw)
        _normalise(raw, path)
    _check_names(path)
    check_batch_sizes(
        _load(path),
        examples,
        outputs=outputs,
        subject="the TorchScript graph",
        made="traced",
        module=module if caught else None,
    )


def _trace(module: nn.Module, examples: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    try:
        traced: torch.jit.ScriptModule = torch.jit.trace(module, examples, check_trace=False)  # type: ignore[no-untyped-call]
        return traced
    except RuntimeError:  # told by `write_bundle`
        raise
    except Exception as error:  # it runs forward, where sizes are tensors now
        raise ExportError(
            f"the network cannot be traced ({first_line(error)}), though it runs; a trace hands forward "
            "sizes as tensors, so write it with torch's own operations, or leave torchscript out of --formats"
        ) from error


def _normalise(source: Path, target: Path) -> None:
    """Copy an archive without what depends on where, and after what, it was made.

    Debug records hold the absolute paths of the machine. Classes that share a name are told apart by a number that
    torch counts up as long as the process lives; here they count from 0.
    """
    reader = torch._C.PyTorchFileReader(str(source))
    own = {"version", "byteorder", ".data/serialization_id"}  # of every archive; the writer adds them
    names = [name for name in reader.get_all_records() if not name.endswith(".debug_pkl") and name not in own]
    told = {name: bytes(reader.get_record(name)) for name in names if name.endswith((".py", ".pkl"))}
    found = {int(match) for text in told.values() for match in _CLASS_NUMBER.findall(text)}
    numbers = {number: new for new, number in enumerate(sorted(found))}

    def renumber(text: bytes) -> bytes:
        return _CLASS_NUMBER.sub(lambda match: b"___torch_mangle_%d" % numbers[int(match.group(1))], text)

    new_names = {renumber(name.encode()).decode(): name for name in names}
    with torch_file(target) as file:
        writer = torch._C.PyTorchFileWriter(file)
        for new_name, name in sorted(new_names.items()):
            record = renumber(told[name]) if name in told else reader.get_record(name)
            writer.write_record(new_name, record, len(record))
        writer.write_end_of_file()


def _check_names(path: Path) -> None:
    try:
        with path.open("rb") as file:
            name = file_operator(file)
    except BundleError as error:
        raise ExportError(
            "torch writes TorchScript of this network that it cannot read, because of a quote, backslash or new line "
            "in the name of a part; give it another name, or leave torchscript out of --formats"
        ) from error
    if name is not None:
        raise ExportError(
            f"the network names {name}, which in TorchScript is an operator that reads or writes files, so that such a "
            "graph is not loaded; give the attribute, class or module of this name another, or leave torchscript out "
            "of --formats"
        )


def load_torchscript(content: bytes) -> torch.jit.ScriptModule:
    """Load a TorchScript file from bytes whose digest was checked before.

    Raises:
        BundleError: its code could read or write files, see `export.torchscript_code`.
    """
    check_code(content)
    return _load(io.BytesIO(content))


def _load(file: Path | io.BytesIO) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        graph: torch.jit.ScriptModule = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]
        return graph
