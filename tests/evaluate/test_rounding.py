"""A runtime that rounds coarsely is told from a graph that is wrong."""

import copy
import io
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from evaluate.certificate import GraphVerdict
from evaluate.double_graph import DoubleRunner
from evaluate.inputs import whole
from evaluate.runners import Candidate
from evaluate.truth import Truth
from evaluate.verdicts import judge_graph
from serve.bundle import TensorSpec
from serve.onnx_runner import OnnxRunner
from serve.parity import COARSEST

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CHANNELS = 16
_SIZE = (3, 24, 24)


class _Coarse(nn.Module):
    """Means over many values that are all nearly one: ONNX Runtime adds them up one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Tanh(),
            nn.Sigmoid(),
        )
        self.head = nn.Linear(CHANNELS, 10)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(image).mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(78)
    return _Coarse().eval()


@pytest.fixture(scope="module")
def graph(network: nn.Module) -> onnx.ModelProto:
    content = io.BytesIO()
    torch.onnx.export(
        network,
        (_images()[:2],),
        content,
        dynamo=False,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=18,
    )
    return onnx.load_from_string(content.getvalue())


def _images() -> Tensor:
    drawn = torch.randint(0, 256, (16, *_SIZE), generator=torch.Generator().manual_seed(0))
    return 30 * drawn.float() / 255


@pytest.fixture(scope="module")
def truth(network: nn.Module) -> Truth:
    images = _images()
    with torch.no_grad():
        eager = network(images).numpy()
        reference = copy.deepcopy(network).double()(images.double()).numpy()
    inputs = replace(whole("random images", "noise", {"image": images.numpy()}), batch_size=7)
    return Truth(inputs=inputs, reference={"logits": reference}, eager={"logits": eager})


def _candidate(model: onnx.ModelProto, *, double: bool = True) -> Candidate:
    return Candidate(
        graph="graph.onnx",
        precision="float32",
        provider="CPUExecutionProvider",
        size_bytes=0,
        optimized=True,
        runner=OnnxRunner(
            model.SerializeToString(),
            name="graph.onnx",
            inputs=(TensorSpec(name="image", dtype="float32", shape=("batch", *_SIZE)),),
            outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", 10)),),
            provider="CPUExecutionProvider",
            threads=1,
        ),
        double=(lambda: DoubleRunner(model)) if double else None,
    )


def _judge(model: onnx.ModelProto, truth: Truth, *, double: bool = True) -> GraphVerdict:
    sample = replace(truth, inputs=replace(truth.inputs, name="samples"))
    return judge_graph(_candidate(model, double=double), [sample, truth], task="classification")


def _changed(model: onnx.ModelProto, name: str, change: NDArray[np.float32]) -> onnx.ModelProto:
    changed = copy.deepcopy(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((values + change).astype(np.float32), name))
            return changed
    raise AssertionError(name)


def test_a_right_graph_is_beyond_the_bounds_for_the_runtime_alone(graph: onnx.ModelProto, truth: Truth) -> None:
    assert _judge(graph, truth, double=False).verdict == "fail"


def test_computed_in_float64_it_is_known_to_be_right(graph: onnx.ModelProto, truth: Truth) -> None:
    verdict = _judge(graph, truth)
    assert verdict.verdict == "pass", verdict.reason
    assert verdict.note is not None
    assert "the runtime is coarse, and the graph is right" in verdict.note
    assert all(1 < comparison.slack < COARSEST for comparison in verdict.comparisons)


@pytest.mark.parametrize("size", [1e-6, 3e-6, 1e-5])
def test_a_fault_of_that_size_is_not_excused(size: float, graph: onnx.ModelProto, truth: Truth) -> None:
    drawn = np.random.default_rng(0).normal(0, size, size=10).astype(np.float32)
    verdict = _judge(_changed(graph, "head.bias", drawn), truth)
    assert verdict.verdict == "fail"
    assert all(comparison.slack == 1 for comparison in verdict.comparisons)


def test_beyond_what_any_rounding_makes_nothing_is_excused(
    graph: onnx.ModelProto, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluate.rounding.COARSEST", 1.01)
    assert _judge(graph, truth).verdict == "fail"


def test_what_cannot_be_run_in_float64_is_not_excused(graph: onnx.ModelProto, truth: Truth) -> None:
    def unknown() -> DoubleRunner:
        raise NotImplementedError("no such operator")

    candidate = replace(_candidate(graph), double=unknown)
    assert judge_graph(candidate, [truth], task="classification").verdict == "fail"


def test_the_double_graph_widens_constants_casts_and_branches() -> None:
    from onnx import TensorProto, helper

    third = helper.make_tensor("third", TensorProto.FLOAT, [], [np.float32(1 / 3)])

    def branch(name: str, factor: float) -> onnx.GraphProto:
        return helper.make_graph(
            [
                helper.make_node("Constant", [], [f"{name}_f"], value=helper.make_tensor(name, 1, [], [factor])),
                helper.make_node("Mul", ["wide", f"{name}_f"], [name]),
            ],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )

    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["third"], value=third),
            helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "third"], ["wide"]),
            helper.make_node("If", ["yes"], ["y"], then_branch=branch("a", 3.0), else_branch=branch("b", 5.0)),
        ],
        "graph",
        [
            helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch"]),
            helper.make_tensor_value_info("yes", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    found = DoubleRunner(model).run({"x": np.asarray([7], np.uint8), "yes": np.asarray(True)})["y"]
    assert found.dtype == np.float64
    assert found[0] == 7 * np.float64(np.float32(1 / 3)) * 3
    assert model.graph.node[1].attribute[0].i == TensorProto.FLOAT, "the graph itself is not changed"
