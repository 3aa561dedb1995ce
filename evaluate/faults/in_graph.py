"""Faults in the ONNX graph: an attribute, an operator or an edge that a converter got wrong."""

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from evaluate.faults.fault import Context, Edit, GraphFault

_VALUES = {"Conv", "Gemm", "MatMul", "Relu", "Add", "LayerNormalization", "MaxPool", "Tanh"}


def _nodes(model: onnx.ModelProto, *operators: str) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type in operators]


def _one(model: onnx.ModelProto, context: Context, *operators: str) -> NodeProto | None:
    found = _nodes(model, *operators)
    return found[int(context.rng.integers(len(found)))] if found else None


def _attribute(operator: str, **attributes: object) -> Edit:
    """Set attributes of every node of an operator."""

    def edit(model: onnx.ModelProto, context: Context) -> bool:  # noqa: ARG001
        nodes = _nodes(model, operator)
        for node in nodes:
            for name, value in attributes.items():
                _set(node, name, value)
        return bool(nodes)

    return edit


def _set(node: NodeProto, name: str, value: object) -> None:
    others = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*others, helper.make_attribute(name, value)])


def _retype(operator: str, other: str, **attributes: object) -> Edit:
    """Turn one node into another operator."""

    def edit(model: onnx.ModelProto, context: Context) -> bool:
        node = _one(model, context, operator)
        if node is None:
            return False
        node.op_type = other
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        return True

    return edit


def _insert(make: Callable[[str, str], Iterator[NodeProto]], *operators: str) -> Edit:
    """Put nodes behind one node; `make` takes the names of the value that comes in and of the one that goes out."""

    def edit(model: onnx.ModelProto, context: Context) -> bool:
        node = _one(model, context, *(operators or _VALUES))
        if node is None:
            return False
        name = node.output[0]
        node.output[0] = f"{name}.right"
        place = list(model.graph.node).index(node)
        for offset, extra in enumerate(make(node.output[0], name)):
            model.graph.node.insert(place + 1 + offset, extra)
        return True

    return edit


def _cast(dtype: int) -> Callable[[str, str], Iterator[NodeProto]]:
    def make(source: str, target: str) -> Iterator[NodeProto]:
        yield helper.make_node("Cast", [source], [f"{source}.narrow"], to=dtype)
        yield helper.make_node("Cast", [f"{source}.narrow"], [target], to=TensorProto.FLOAT)

    return make


def _scaled(factor: float) -> Callable[[str, str], Iterator[NodeProto]]:
    def make(source: str, target: str) -> Iterator[NodeProto]:
        value = numpy_helper.from_array(np.asarray(factor, dtype=np.float32))
        yield helper.make_node("Constant", [], [f"{source}.factor"], value=value)
        yield helper.make_node("Mul", [source, f"{source}.factor"], [target])

    return make


def _rounded(source: str, target: str) -> Iterator[NodeProto]:
    value = numpy_helper.from_array(np.asarray(1024.0, dtype=np.float32))
    yield helper.make_node("Constant", [], [f"{source}.steps"], value=value)
    yield helper.make_node("Mul", [source, f"{source}.steps"], [f"{source}.large"])
    yield helper.make_node("Round", [f"{source}.large"], [f"{source}.whole"])
    yield helper.make_node("Div", [f"{source}.whole", f"{source}.steps"], [target])


def _dropout(source: str, target: str) -> Iterator[NodeProto]:
    ratio = numpy_helper.from_array(np.asarray(0.1, dtype=np.float32))
    training = numpy_helper.from_array(np.asarray(True))
    yield helper.make_node("Constant", [], [f"{source}.ratio"], value=ratio)
    yield helper.make_node("Constant", [], [f"{source}.training"], value=training)
    yield helper.make_node("Dropout", [source, f"{source}.ratio", f"{source}.training"], [target], seed=7)


def _mean_of_batch(source: str, target: str) -> Iterator[NodeProto]:
    axes = numpy_helper.from_array(np.asarray([0], dtype=np.int64))
    yield helper.make_node("Constant", [], [f"{source}.axes"], value=axes)
    yield helper.make_node("ReduceMean", [source, f"{source}.axes"], [f"{source}.mean"])
    yield from _scaled(1e-3)(f"{source}.mean", f"{source}.share")
    yield helper.make_node("Add", [source, f"{source}.share"], [target])


def _flip_sub(model: onnx.ModelProto, context: Context) -> bool:
    node = _one(model, context, "Sub")
    if node is None:
        return False
    node.input[:] = [node.input[1], node.input[0]]
    return True


def _bypass(operator: str) -> Edit:
    """Take one node out: what it is given goes on."""

    def edit(model: onnx.ModelProto, context: Context) -> bool:
        node = _one(model, context, operator)
        if node is None:
            return False
        node.op_type = "Identity"
        del node.attribute[:]
        del node.input[1:]
        return True

    return edit


def _drop_bias(model: onnx.ModelProto, context: Context) -> bool:
    found = [node for node in _nodes(model, "Gemm", "Conv") if len(node.input) > 2]
    if not found:
        return False
    del found[int(context.rng.integers(len(found)))].input[2:]
    return True


def _move_padding(model: onnx.ModelProto, context: Context) -> bool:
    nodes = [
        node
        for node in _nodes(model, "Conv")
        if any(attribute.name == "pads" and any(attribute.ints) for attribute in node.attribute)
    ]
    if not nodes:
        return False
    _set(nodes[int(context.rng.integers(len(nodes)))], "pads", [0, 0, 2, 2])
    return True


def _layout(model: onnx.ModelProto, context: Context) -> bool:
    if context.subject.preprocessing is None:
        return False
    _set(_nodes(model, "Transpose")[0], "perm", [0, 3, 2, 1])
    return True


def _frozen(model: onnx.ModelProto, context: Context) -> bool:  # noqa: ARG001
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
        value.type.tensor_type.shape.dim[0].dim_value = 2
    return True


def _swap_names(model: onnx.ModelProto, context: Context) -> bool:
    if context.subject.task == "regression":
        return False
    names = [value.name for value in model.graph.output]
    other = {names[0]: "swapped", names[1]: names[0], "swapped": names[1]}
    for node in model.graph.node:
        for values in (node.output, node.input):
            values[:] = [other.get(name, name) for name in values]
    for node in model.graph.node:
        for values in (node.output, node.input):
            values[:] = [names[1] if name == "swapped" else name for name in values]
    return True


def _softmax_axis(model: onnx.ModelProto, context: Context) -> bool:  # noqa: ARG001
    nodes = _nodes(model, "Softmax")
    if not nodes:
        return False
    _set(nodes[-1], "axis", 0)
    return True


GRAPH_FAULTS: tuple[GraphFault, ...] = (
    GraphFault(kind="graph: a value through float16", edit=_insert(_cast(TensorProto.FLOAT16))),
    GraphFault(kind="graph: a value through bfloat16", edit=_insert(_cast(TensorProto.BFLOAT16))),
    GraphFault(kind="graph: a value x 1.01", edit=_insert(_scaled(1.01))),
    GraphFault(kind="graph: a value x 1.0001", edit=_insert(_scaled(1.0001))),
    GraphFault(kind="graph: a value in steps of 1/1024", edit=_insert(_rounded)),
    GraphFault(kind="graph: dropout left on", edit=_insert(_dropout, "Relu", "Gemm")),
    GraphFault(kind="graph: mean of the batch mixed in", edit=_insert(_mean_of_batch, "Gemm", "Relu")),
    GraphFault(kind="graph: leaky ReLU", edit=_retype("Relu", "LeakyRelu", alpha=0.01)),
    GraphFault(kind="graph: ReLU left out", edit=_bypass("Relu")),
    GraphFault(kind="graph: GELU by tanh", edit=_attribute("Gelu", approximate="tanh")),
    GraphFault(kind="graph: tanh for erf in half the GELUs", edit=_retype("Gelu", "Gelu", approximate="tanh")),
    GraphFault(kind="graph: soft sign for tanh", edit=_retype("Tanh", "Softsign")),
    GraphFault(kind="graph: hard sigmoid", edit=_retype("Sigmoid", "HardSigmoid")),
    GraphFault(kind="graph: layer norm's epsilon 1e-4", edit=_attribute("LayerNormalization", epsilon=1e-4)),
    GraphFault(kind="graph: average pooling leaves padding out", edit=_attribute("AveragePool", count_include_pad=0)),
    GraphFault(kind="graph: nearest for bilinear", edit=_attribute("Resize", mode="nearest")),
    GraphFault(
        kind="graph: bilinear, asymmetric", edit=_attribute("Resize", coordinate_transformation_mode="asymmetric")
    ),
    GraphFault(kind="graph: padding off by one", edit=_move_padding),
    GraphFault(kind="graph: a bias left out", edit=_drop_bias),
    GraphFault(kind="graph: a difference the wrong way round", edit=_flip_sub),
    GraphFault(kind="graph: product for sum of two values", edit=_retype("Add", "Mul")),
    GraphFault(kind="graph: Gemm with alpha 1.001", edit=_attribute("Gemm", alpha=1.001)),
    GraphFault(kind="graph: height and width exchanged", edit=_layout),
    GraphFault(kind="graph: softmax over the batch", edit=_softmax_axis),
    GraphFault(kind="graph: output names exchanged", edit=_swap_names),
    GraphFault(kind="graph: batch size of the export", edit=_frozen),
)
