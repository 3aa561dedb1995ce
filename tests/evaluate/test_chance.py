"""Graphs that draw at random, or change themselves as they run, are refused."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn

from evaluate.chance import RANDOM_OPERATORS, drawn_at_random, state_digest
from evaluate.inputs import whole
from evaluate.runners import Candidate
from evaluate.truth import Truth
from evaluate.verdicts import judge_graph
from export.module_runner import ModuleRunner


def _graph(operator: str, *, inside: bool) -> bytes:
    drawn = helper.make_node(operator, ["x"], ["y"], **({"sample_size": 1} if operator == "Multinomial" else {}))
    value = helper.make_tensor_value_info
    if inside:
        branch = helper.make_graph([drawn], "branch", [], [value("y", TensorProto.FLOAT, None)])
        nodes = [helper.make_node("If", ["yes"], ["out"], then_branch=branch, else_branch=branch)]
    else:
        nodes = [drawn, helper.make_node("Identity", ["y"], ["out"])]
    inputs = [value("x", TensorProto.FLOAT, ["batch", 3]), value("yes", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "graph", inputs, [value("out", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()  # type: ignore[no-any-return]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("operator", sorted({"RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}))
def test_random_operators_are_found(operator: str, inside: bool) -> None:
    assert drawn_at_random(_graph(operator, inside=inside)) == (
        f"its operator {operator} draws random numbers, but a graph must answer alike each time; export it again"
    )


def test_what_draws_nothing_is_not_accused() -> None:
    assert drawn_at_random(_graph("Identity", inside=True)) is None
    assert drawn_at_random(b"no graph at all") is None


def _dropout(*, version: int = 18, ratio: object = 0.3, training: object = True) -> bytes:
    given = {"ratio": (TensorProto.FLOAT, ratio), "training": (TensorProto.BOOL, training)}
    constants = [
        helper.make_tensor(name, kind, [], [number])
        for name, (kind, number) in given.items()
        if number not in (None, "input")
    ]
    names = ["x", *("" if number is None else name for name, (_, number) in given.items())]
    nodes = [helper.make_node("Dropout", names if version >= 12 else ["x"], ["out"])]
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["batch", 3]), value("training", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "graph", inputs, [value("out", TensorProto.FLOAT, None)], initializer=constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)]).SerializeToString()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("options", "draws"),
    [
        ({}, True),
        ({"ratio": None}, True),
        ({"training": "input"}, False),
        ({"training": False}, False),
        ({"training": None}, False),
        ({"ratio": 0.0}, False),
        ({"version": 10}, False),
    ],
)
def test_a_dropout_draws_only_where_it_may_be_training(options: dict[str, Any], draws: bool) -> None:
    assert (drawn_at_random(_dropout(**options)) is not None) == draws


def _function(name: str, *constants: onnx.NodeProto, version: int = 18) -> onnx.FunctionProto:
    drops = helper.make_node("Dropout", ["a", "", "trains"], ["b"])
    return helper.make_function("own", name, ["a"], ["b"], [*constants, drops], [helper.make_opsetid("", version)])


def _constant(trains: bool) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["trains"], value=helper.make_tensor("", TensorProto.BOOL, [], [trains]))


def _of_functions(*functions: onnx.FunctionProto) -> bytes:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node(function.name, ["x"], [f"y{i}"], domain="own") for i, function in enumerate(functions)]
    outputs = [value(f"y{i}", TensorProto.FLOAT, None) for i, _ in enumerate(functions)]
    graph = helper.make_graph(nodes, "graph", [value("x", TensorProto.FLOAT, ["batch", 3])], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("own", 1)], functions=functions)
    return model.SerializeToString()  # type: ignore[no-any-return]


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_dropout_in_one_of_two_functions_is_found(order: tuple[bool, bool]) -> None:
    functions = [_function(name, _constant(trains)) for name, trains in zip("AB", order, strict=True)]
    assert drawn_at_random(_of_functions(*functions)) is not None
    assert drawn_at_random(_of_functions(_function("A", _constant(False)))) is None


def test_a_constant_that_cannot_be_read_accuses_nobody() -> None:
    given = helper.make_node("Constant", [], ["trains"])
    given.attribute.append(onnx.AttributeProto(name="value", ref_attr_name="k", type=onnx.AttributeProto.TENSOR))
    damaged = _constant(True)
    damaged.attribute[0].t.raw_data = b"12345"
    damaged.attribute[0].t.ClearField("int32_data")
    outside = _constant(True)
    outside.attribute[0].t.data_location = TensorProto.EXTERNAL
    for constant in (given, damaged, outside):
        assert drawn_at_random(_of_functions(_function("A", constant))) is None


def test_the_list_is_onnx_own() -> None:
    drawing = {schema.name for schema in onnx.defs.get_all_schemas() if "seed" in schema.attributes}
    assert drawing - {"Dropout"} == RANDOM_OPERATORS


class _Counting(nn.Module):
    def __init__(self, *, counts: bool) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))
        self.counts = counts

    def forward(self, x: Tensor) -> tuple[Tensor]:
        if self.counts:
            self.seen += 1
        return (x * 2,)


@pytest.mark.parametrize("counts", [False, True])
def test_a_graph_that_changes_itself_fails(counts: bool) -> None:
    module = _Counting(counts=counts)
    rows: NDArray[np.float32] = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    truth = Truth(
        inputs=whole("rows", "samples", {"x": rows}),
        reference={"y": 2 * rows.astype(np.float64)},
        eager={"y": 2 * rows},
    )
    candidate = Candidate(
        graph="graph.torchscript.pt",
        precision="float32",
        provider="torch CPU",
        size_bytes=0,
        optimized=True,
        runner=ModuleRunner(module, inputs=("x",), outputs=("y",)),
        state=lambda: state_digest(module),
    )
    verdict = judge_graph(candidate, [truth], task="tensor")
    assert verdict.verdict == ("fail" if counts else "pass")
    assert (verdict.reason is not None and "what it keeps changes as it runs" in verdict.reason) is counts
