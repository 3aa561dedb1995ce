"""A runtime that rounds coarsely is told from a graph that is wrong."""

import copy
import io
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from evaluate.compare_outputs import compare_outputs
from evaluate.graph_verdict import GraphVerdict
from evaluate.inputs import whole
from evaluate.reference_graph import DoubleRunner, ReferenceRunner, ReferenceRunners
from evaluate.rounding import excuse
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


def _references(model: onnx.ModelProto) -> ReferenceRunners:
    return ReferenceRunners(float32=lambda: ReferenceRunner(model), float64=lambda: DoubleRunner(model))


def _candidate(model: onnx.ModelProto, *, asked: bool = True) -> Candidate:
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
        references=_references(model) if asked else None,
    )


def _judge(model: onnx.ModelProto, truth: Truth, *, asked: bool = True) -> GraphVerdict:
    sample = replace(truth, inputs=replace(truth.inputs, name="samples"))
    return judge_graph(_candidate(model, asked=asked), [sample, truth], task="classification")


def _changed(model: onnx.ModelProto, name: str, change: NDArray[np.float32]) -> onnx.ModelProto:
    changed = copy.deepcopy(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((values + change).astype(np.float32), name))
            return changed
    raise AssertionError(name)


def test_a_right_graph_is_beyond_the_bounds_for_the_runtime_alone(graph: onnx.ModelProto, truth: Truth) -> None:
    assert _judge(graph, truth, asked=False).verdict == "fail"


def test_run_by_the_reference_implementation_it_is_known_to_be_right(graph: onnx.ModelProto, truth: Truth) -> None:
    verdict = _judge(graph, truth)
    assert verdict.verdict == "pass", verdict.reason
    assert verdict.note is not None
    assert "the runtime is coarse, and the graph is right" in verdict.note
    assert all(1 < comparison.slack < COARSEST for comparison in verdict.comparisons)
    for comparison in verdict.comparisons:  # what is recorded are the rule's own bounds
        assert comparison.rmse is not None
        assert comparison.rmse_bound is not None
        assert comparison.rmse > comparison.rmse_bound


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


@pytest.mark.parametrize("which", ["float32", "float64"])
def test_what_the_reference_implementation_cannot_run_is_not_excused(
    which: str, graph: onnx.ModelProto, truth: Truth
) -> None:
    def unknown() -> DoubleRunner:
        raise NotImplementedError("no such operator")

    references = replace(_references(graph), **{which: unknown})
    candidate = replace(_candidate(graph), references=references)
    assert judge_graph(candidate, [truth], task="classification").verdict == "fail"


def test_a_rewrite_that_is_right_but_unstable_is_not_excused() -> None:
    """A variance as the mean of squares less the square of the mean cancels in float32, whoever runs it."""
    rows = np.random.default_rng(0).normal(10, 1, size=(64, 32)).astype(np.float32)
    wide = rows.astype(np.float64)
    reference = wide.var(axis=1, keepdims=True)
    eager = np.float32(((rows - rows.mean(axis=1, keepdims=True)) ** 2).mean(axis=1, keepdims=True))
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
            helper.make_node("Mul", ["mean", "mean"], ["squared"]),
            helper.make_node("Mul", ["x", "x"], ["squares"]),
            helper.make_node("ReduceMean", ["squares"], ["of_squares"], axes=[1]),
            helper.make_node("Sub", ["of_squares", "squared"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    exact = DoubleRunner(model).run({"x": rows})["y"]
    assert np.abs(exact - reference).max() < 1e-10
    truth = Truth(inputs=whole("rows", "noise", {"x": rows}), reference={"y": reference}, eager={"y": eager})
    outputs = {"y": ReferenceRunner(model).run({"x": rows})["y"]}
    compare = partial(compare_outputs, must_vary=False, decisive=None)
    found = compare(outputs, truth)
    assert found[0].verdict == "fail"
    judged = excuse(found, outputs=outputs, truth=truth, references=_references(model), compare=compare)
    assert judged == found


class _Given:
    """Gives rows that are known beforehand, by the number that each row holds."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = values
        self.rows: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        rows = inputs["row"].astype(np.int64)
        self.rows += rows.tolist()
        return {"y": self._values[rows]}


def _excused(error: NDArray[np.float64], wrong: NDArray[np.float64], *, unjudged: int = 0, batch_size: int = 1) -> bool:
    """Judge values with an error of the runtime, and one of the graph, on rows of which the first do not count."""
    rows = len(error)
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(rows, 10))
    eager = (reference + rng.normal(0, 1e-6, size=(rows, 10))).astype(np.float32)
    reference[:unjudged] = np.nan
    judged = np.arange(rows) >= unjudged
    inputs = replace(whole("rows", "noise", {"row": np.arange(rows)}), judged=judged, batch_size=batch_size)
    truth = Truth(inputs=inputs, reference={"y": reference}, eager={"y": eager})
    outputs = {"y": (reference + error[:, None] + wrong[:, None]).astype(np.float32)}
    compare = partial(compare_outputs, must_vary=False, decisive=None)
    found = compare(outputs, truth)
    assert found[0].verdict == "fail"
    exact = _Given((reference + wrong[:, None]).astype(np.float32))
    references = ReferenceRunners(float32=lambda: exact, float64=lambda: exact)
    judgement = excuse(found, outputs=outputs, truth=truth, references=references, compare=compare)
    assert set(exact.rows) <= set(range(rows))
    return judgement[0].verdict == "pass"


@pytest.mark.parametrize("unjudged", [0, 1, 70])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_fault_in_a_few_rows_is_found_among_those_that_count(unjudged: int, batch_size: int) -> None:
    coarse = np.full(512, 6e-6)
    nothing = np.zeros(512)
    few = np.where(np.isin(np.arange(512), [300, 301, 400]), 3e-5, 0.0)
    assert _excused(coarse, nothing, unjudged=unjudged, batch_size=batch_size)
    assert not _excused(coarse, few, unjudged=unjudged, batch_size=batch_size)


def test_every_batch_size_in_one_set_keeps_its_batches() -> None:
    sizes = tuple(range(1, 20))
    rows = sum(sizes)
    reference = np.random.default_rng(0).normal(size=(rows, 3))
    eager = (reference + np.random.default_rng(1).normal(0, 1e-6, size=(rows, 3))).astype(np.float32)
    inputs = replace(whole("rows", "again", {"row": np.arange(rows)}), sizes=sizes, batch_size=19)
    truth = Truth(inputs=inputs, reference={"y": reference}, eager={"y": eager})
    error = np.where(np.arange(rows) == rows - 1, 4e-5, 0.0)
    outputs = {"y": (reference + error[:, None]).astype(np.float32)}
    seen: list[int] = []

    class Sizes:
        def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.float64]]:
            seen.append(len(inputs["row"]))
            return {"y": reference[inputs["row"]]}

    compare = partial(compare_outputs, must_vary=False, decisive=None)
    found = compare(outputs, truth)
    judged = excuse(
        found,
        outputs=outputs,
        truth=truth,
        references=ReferenceRunners(float32=Sizes, float64=Sizes),
        compare=compare,
    )
    assert judged[0].verdict == "pass"
    assert 19 in seen
    assert set(seen) <= set(sizes)


def test_only_the_output_that_needs_it_is_given_room() -> None:
    rng = np.random.default_rng(0)
    reference = {name: rng.normal(size=(64, 4)) for name in ("coarse", "fine")}
    eager = {name: (v + rng.normal(0, 1e-6, size=v.shape)).astype(np.float32) for name, v in reference.items()}
    truth = Truth(inputs=whole("rows", "noise", {"x": np.zeros(64)}), reference=reference, eager=eager)
    outputs = {"coarse": (reference["coarse"] + 2e-5).astype(np.float32), "fine": eager["fine"]}

    class Exact:
        def run(self, inputs: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
            assert len(inputs["x"]) == 64
            return reference

    compare = partial(compare_outputs, must_vary=False, decisive=None)
    judged = excuse(
        compare(outputs, truth),
        outputs=outputs,
        truth=truth,
        references=ReferenceRunners(float32=Exact, float64=Exact),
        compare=compare,
    )
    assert {c.output: c.slack > 1 for c in judged} == {"coarse": True, "fine": False}
    assert all(c.verdict == "pass" for c in judged)


def test_the_double_graph_widens_constants_casts_and_branches() -> None:
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
