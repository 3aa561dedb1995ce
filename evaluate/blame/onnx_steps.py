"""An ONNX graph as steps, with every value of it from one session."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from evaluate.blame.from_program import source_of
from evaluate.blame.steps import Step
from evaluate.initializers import constants, initializers
from export.first_line import last_line
from serve.bundle import BundleError
from serve.onnx_runner import ORT_ERRORS, open_session

_PREFIX = "pkg.torch.onnx."


class OnnxGraph:
    """An ONNX graph on fixed inputs, as it was written: ONNX Runtime rewrites nothing.

    Args:
        model: The graph; values between its nodes become outputs of it.
        name: How messages call it.
        feeds: Arrays by input name.
        outputs: The graph's own outputs, in the manifest's order.
        weights: Contents of the files beside it that hold its weights, by name.

    Raises:
        BundleError: ONNX Runtime does not run it.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        name: str,
        feeds: Mapping[str, NDArray[Any]],
        outputs: tuple[str, ...],
        weights: Mapping[str, bytes],
    ) -> None:
        self._feeds = {key: np.ascontiguousarray(values) for key, values in feeds.items()}
        self.name = name
        self.outputs = outputs
        self.steps = steps_of(model)
        own = {value.name for value in model.graph.output}
        between = [value for step in self.steps for value in step.outputs if value not in own]
        count = len(model.graph.output)
        model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in between)
        try:
            self._session = open_session(
                model.SerializeToString(),
                name=name,
                provider="CPUExecutionProvider",
                threads=None,
                optimized=False,
                weights=weights,
            )
        finally:
            del model.graph.output[count:]

    def values(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Run the graph and return some of its values.

        Raises:
            BundleError: it fails on these inputs.
        """
        found = {name: self._feeds[name] for name in names if name in self._feeds}
        wanted = [name for name in names if name not in found]
        if not wanted:
            return found
        try:
            return {**found, **dict(zip(wanted, self._session.run(wanted, self._feeds), strict=True))}
        except ORT_ERRORS as error:
            raise BundleError(
                f"{self.name} fails on the golden inputs ({last_line(error)}); export it again"
            ) from error


def steps_of(model: onnx.ModelProto) -> tuple[Step, ...]:
    """Return the nodes of a graph that depend on its inputs."""
    moving = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    steps = []
    for node in model.graph.node:
        inputs = tuple(name for name in node.input if name in moving)
        if not inputs:
            continue
        outputs = tuple(name for name in node.output if name)
        moving.update(outputs)
        steps.append(_step(node, inputs, outputs))
    return tuple(steps)


def _step(node: onnx.NodeProto, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Step:
    told = {prop.key.removeprefix(_PREFIX): prop.value for prop in node.metadata_props}
    scopes, classes = (_names(told.get(key, "")) for key in ("name_scopes", "class_hierarchy"))
    name = node.name or outputs[0]
    path = scopes[-2] if len(scopes) > 1 else ""
    return Step(
        name=name,
        operator=node.op_type,
        path=path,
        source=source_of(told.get("stack_trace", "")),
        key=(path, classes[-1]) if len(scopes) > 1 and classes else None,
        group=scopes[-1] if len(scopes) > 1 else name,
        inputs=inputs,
        outputs=outputs,
        weights=tuple(name for name in node.input if name and name not in inputs),
        settings=tuple(sorted((attribute.name, _text(attribute)) for attribute in node.attribute)),
    )


def _text(attribute: onnx.AttributeProto) -> str:
    if attribute.type == onnx.AttributeProto.FLOAT:
        return f"{attribute.f:.7g}"
    return str(onnx.helper.printable_attribute(attribute)).partition("=")[2].strip()


def _names(text: str) -> list[str]:
    """Return the names in a list that is written as Python's; of a file that anyone may have written."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []


def weights_of(model: onnx.ModelProto, files: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    """Return the initializers of a graph by name; those in files beside it are read from `files`."""
    return dict(initializers(model, files)) | constants(model)
