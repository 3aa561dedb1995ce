"""ONNX: the dynamo exporter, with what it wrote checked afterwards."""

import re
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.first_line import first_line
from export.graph_job import INLINE_BYTES, GraphFile, GraphJob
from export.held_tensors import part_name
from export.onnx_graph import GRAPH, encode_graph, onnx_files, write_graph
from export.opset import check_same_opset, graph_opset
from export.quiet import quiet
from export.source_lines import shorten_frames
from export.stopped_at import decides_by_data, refuse_decision, stopped_at
from serve.bundle import TensorSpec

_UNTRANSLATED = re.compile(r"when translating node .*target=torch\.ops\.(\w+\.\w+)")


def write_onnx(job: GraphJob) -> tuple[GraphFile, ...]:
    """Write ``graph.onnx``, and ``graph.onnx.data`` where the weights are too many for one file; see `export_onnx`."""
    path = job.folder / GRAPH
    opset = export_onnx(
        job.module,
        job.examples,
        path,
        inputs=job.inputs,
        outputs=job.outputs,
        opset=job.opset,
        inline_bytes=job.inline_bytes,
    )
    return onnx_files(path, precision="float32", note=f"ONNX operator set {opset}")


def export_onnx(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    opset: int | None = None,
    inline_bytes: int = INLINE_BYTES,
) -> int:
    """Export a module to ONNX and write it, as one file unless it has more weights than fit.

    Args:
        module: The deployable module, in evaluation mode.
        examples: One batch of each input, of at least two rows.
        path: File to write.
        inputs: Names, dtypes and shapes that the graph must have.
        outputs: The same for its outputs.
        opset: Operator set that the graph must have; the exporter's own where it is None.
        inline_bytes: Most bytes of weights inside the file; more of them go into another one, its name with ``.data``.

    Returns:
        The operator set that the graph has.

    Raises:
        ExportError: the exporter refuses the module, or wrote a graph that differs from what was asked: a frozen batch
            size, another name, shape, dtype or operator set.
    """
    program = call_exporter(module, examples, inputs=inputs, outputs=outputs, opset=opset)
    model = encode_graph(program.model, path, inline_bytes=inline_bytes)
    # the rewriting rules of onnxscript (0.7) keep the last graph that they looked at as long as the process lives, and
    # with it weights that they computed: those of convolutions, times those of batch normalisation
    for value in program.model.graph.initializers.values():
        value.const_value = None
    check_same_opset(model, opset)
    _name_batch(model)
    for part in (model.graph, *model.functions):
        _shorten_paths(part)
    check_contract(model, inputs=inputs, outputs=outputs)
    found = graph_opset(model)
    write_graph(model, path)
    if opset is not None:
        _check_valid(path, opset)
    return found


def check_contract(model: onnx.ModelProto, *, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """Check names, dtypes and shapes of a graph; above all that its batch dimension is dynamic.

    Raises:
        ExportError: the graph differs from what was asked.
    """
    for kind, values, specs in (("input", model.graph.input, inputs), ("output", model.graph.output, outputs)):
        found = [_spec(value) for value in values]
        expected = [(spec.name, spec.dtype, list(spec.shape)) for spec in specs]
        if found == expected:
            continue
        frozen = [name for name, _, shape in found if shape and isinstance(shape[0], int)]
        if frozen:
            raise ExportError(
                f"{kind} {frozen[0]} of the ONNX graph has a frozen batch size: {found}, but the first dimension must "
                "be dynamic; look for int(x.shape[0]) or len(x) in forward and use x.shape[0] or -1 instead"
            )
        raise ExportError(
            f"{kind}s of the ONNX graph are {found}, but {expected} were expected; check what forward returns"
        )


def _check_valid(path: Path, opset: int) -> None:
    """Check a graph whose operator set was asked for: the exporter may name one and write operators of another."""
    try:
        onnx.checker.check_model(path, full_check=True)  # by its path: there would be two more copies of its weights
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"opset {opset} was asked for, but what torch {torch.__version__} wrote is not valid in it "
            f"({first_line(error)}); ask for a later one, or for none"
        ) from error


def call_exporter(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    *,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    opset: int | None,
) -> "torch.onnx.ONNXProgram":
    """Call the exporter; what it returns holds the captured program, too, whose operations the graph's nodes name.

    Raises:
        ExportError: the exporter refuses the module.
    """
    try:
        with quiet():
            program = torch.onnx.export(
                module,
                examples,
                dynamo=True,
                verbose=False,
                # a named Dim may be made static without a word where forward calls int(x.shape[0]); this one may not
                dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in examples),
                input_names=[spec.name for spec in inputs],
                output_names=[spec.name for spec in outputs],
                opset_version=opset,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = first_line(error.__cause__ or error)
        unknown = _UNTRANSLATED.search(reason)
        place = stopped_at(module, error)
        if decides_by_data(error):
            refuse_decision(place, "an ONNX graph", error)
        if unknown is not None:
            raise ExportError(
                f"{place.part} calls {unknown[1]} in forward{place.line}, which torch {torch.__version__} cannot write "
                "as ONNX; use other operations, or, where it makes a weight of others, compute that once with "
                "torch.nn.utils.parametrize.remove_parametrizations"
            ) from error
        raise ExportError(
            f"{place.subject} cannot be exported to ONNX ({reason}); look for branches or loops on data in forward"
        ) from error
    if program is None:
        raise ExportError(f"the ONNX exporter returned nothing for {part_name(module, '')}")
    return program


def _spec(value: onnx.ValueInfoProto) -> tuple[str, str, list[int | str]]:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape: list[int | str] = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return value.name, dtype, shape


def _name_batch(model: onnx.ModelProto) -> None:
    """Call the exporter's symbol for the batch dimension (``s40``, say) what it is."""
    symbols = {value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.input} - {""}
    if len(symbols) != 1:
        return
    symbol = re.compile(rf"\b{re.escape(symbols.pop())}\b")
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = symbol.sub("batch", dim.dim_param)


def _shorten_paths(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    for node in graph.node:
        for prop in node.metadata_props:
            if "stack_trace" in prop.key:
                prop.value = shorten_frames(prop.value)
        for attribute in node.attribute:  # branches of If, bodies of Loop and Scan
            for body in (attribute.g, *attribute.graphs):
                _shorten_paths(body)
