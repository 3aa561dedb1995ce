"""torch.export: capturing, writing, loading. Loading one runs what its author put there; see docs/formats.md."""

import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.batch_sizes import check_batch_sizes
from export.disk import torch_file
from export.errors import ExportError
from export.first_line import first_line
from export.graph_job import GraphFile, GraphJob
from export.quiet import quiet
from export.source_lines import shorten_frames
from export.stopped_at import decides_by_data, refuse_decision, stopped_at
from serve.bundle import TensorSpec

GRAPH = "graph.pt2"


def write_exported_program(job: GraphJob) -> tuple[GraphFile, ...]:
    """Write ``graph.pt2``; see `export_program`."""
    export_program(job.module, job.examples, job.folder / GRAPH, outputs=job.outputs)
    return (GraphFile(path=GRAPH, format="exported-program", precision="float32"),)


def export_program(
    module: nn.Module, examples: tuple[Tensor, ...], path: Path, *, outputs: tuple[TensorSpec, ...]
) -> None:
    """Capture a module with torch.export and write it, without pickles, examples or paths of this machine.

    Args:
        module: The deployable module, in evaluation mode.
        examples: One batch of each input, of at least two rows.
        path: File to write.
        outputs: Names, dtypes and shapes of what it returns, in order.

    Raises:
        ExportError: the module decides by its data; or the file returns other shapes or dtypes than asked, or only for
            the batch size of the example.
    """
    program = _capture(module, examples)
    program.example_inputs = None  # rows of somebody's data, and the archive's only pickle
    for graph_module in program.graph_module.modules():
        for node in graph_module.graph.nodes if isinstance(graph_module, torch.fx.GraphModule) else ():
            if "stack_trace" in node.meta:
                node.meta["stack_trace"] = shorten_frames(node.meta["stack_trace"])
    with torch_file(path) as file:
        torch.export.save(program, file)
    check_batch_sizes(_load(path), examples, outputs=outputs, subject="the exported program", made="captured")


def load_exported_program(content: bytes) -> Callable[..., tuple[Tensor, ...]]:
    """Load an exported program from bytes that were checked before, and that come from somebody who is trusted.

    torch.export.load reads pickles without restriction and evaluates text as Python.
    """
    return _load(io.BytesIO(content))


def _load(file: Path | io.BytesIO) -> Callable[..., tuple[Tensor, ...]]:
    with quiet():
        module: Callable[..., tuple[Tensor, ...]] = torch.export.load(file).module()
        return module


def _capture(module: nn.Module, examples: tuple[Tensor, ...]) -> ExportedProgram:
    try:
        with quiet():
            return torch.export.export(
                module,
                examples,
                # a named Dim may be made static without a word where forward calls int(x.shape[0]); this one may not
                dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in examples),
                # strict capture names things after Python's objects: not the same bytes twice
                strict=False,
            )
    except Exception as error:  # it runs forward, which raises whatever it likes
        place = stopped_at(module, error)
        if decides_by_data(error):
            refuse_decision(place, "an exported program", error)
        raise ExportError(
            f"{place.subject} cannot be captured by torch.export ({first_line(error)}); "
            "look for branches or loops on data, int(x.shape[0]) or len(x) in forward"
        ) from error
