"""What blame cannot follow, and what it says where no operator is to blame."""

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from altered import copy_bundle
from onnx import TensorProto, helper
from torch import Tensor, nn

from evaluate.blame.blame import Truths, blame_graph, blame_pair
from evaluate.blame.chart import draw_blame
from evaluate.blame.found import Blame
from evaluate.blame.from_trace import TraceGraph, trace_module
from evaluate.blame.onnx_steps import OnnxGraph
from evaluate.blame.pairs import Pair, pair_trace, reference_of, trace_reference
from evaluate.blame.subject import pair_of, served_outputs
from evaluate.blame.table import print_blame
from evaluate.blame.trace_walk import TraceError
from evaluate.blame.weights import WeightDifference
from evaluate.resealed import replace_file
from evaluate.tables import stdout_console
from serve.bundle import BundleError, read_bundle
from train.pictures.layout import render

Evaluate = Callable[..., tuple[int, str, str]]
FEEDS = {"features": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)}


class Loop(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        for _ in range(features.shape[0]):
            features = features + 1
        return features


class Prints(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        print("never mind")
        return features + 1


class Decides(nn.Module):
    """Asks its input, which no capture can answer."""

    def forward(self, image: Tensor) -> Tensor:
        return image.float().sum(dim=(1, 2)) if image.float().sum() > 0 else image.float().mean(dim=(1, 2))


class Fixed(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.view(2, 3) + 1


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module)


@pytest.fixture(scope="module")
def linear() -> tuple[Pair, Truths]:
    """A network's trace beside itself, and what it gives."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    graph = trace_module(network, (torch.from_numpy(FEEDS["features"]),))
    pair = pair_trace(trace_reference(network, FEEDS), graph, FEEDS, name="graph.torchscript.pt")
    with torch.no_grad():
        single = network(torch.from_numpy(FEEDS["features"])).numpy()
        double = network.double()(torch.from_numpy(FEEDS["features"]).double()).numpy()
        network.float()
    return pair, Truths(reference={"prediction": double}, eager={"prediction": single})


def printed(blame: Blame) -> str:
    console = stdout_console()
    with console.capture() as captured:
        print_blame(blame, console)
    return " ".join(captured.get().split())


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        pytest.param(
            lambda: scripted(Loop()),
            r"the module has a loop \(prim::Loop\), but blame reads traces only; give --graph graph\.onnx",
            id="loop",
        ),
        pytest.param(
            lambda: scripted(Prints()),
            r"prim::Print cannot be run alone, but blame runs every operation of a trace; give --graph graph\.onnx",
            id="print",
        ),
        pytest.param(
            lambda: trace_module(Fixed(), (torch.ones(2, 3),)),
            r"graph\.pt fails on the golden inputs \(shape '\[2, 3\]' is invalid .*\); export it again",
            id="fixed batch",
        ),
    ],
)
def test_torchscript_that_cannot_be_followed(graph: Callable[[], torch.jit.ScriptModule], message: str) -> None:
    with pytest.raises(TraceError, match=f"^{message}$"):
        assert TraceGraph(graph(), FEEDS, name="graph.pt").steps


def test_torchscript_that_cannot_be_loaded(wrong_bundle: Path, evaluate: Evaluate) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("graph/version", "3")
    replace_file(wrong_bundle, "graph.torchscript.pt", content.getvalue())
    code, _, err = evaluate("blame", str(wrong_bundle), "--graph", "graph.torchscript.pt")
    assert code == 2
    assert err.startswith("error: graph.torchscript.pt cannot be loaded by torch ")
    assert err.endswith("; export it again\n")
    assert err.count("\n") == 1


def test_a_file_that_is_no_onnx_graph(wrong_bundle: Path, evaluate: Evaluate) -> None:
    replace_file(wrong_bundle, "graph.onnx", b"nothing of ONNX's")
    code, _, err = evaluate("blame", str(wrong_bundle))
    assert code == 2
    assert err.startswith("error: graph.onnx ")
    assert err.count("\n") == 1


def picked(places: list[int]) -> onnx.ModelProto:
    """Return a graph that picks places of its input, whether it has them or not."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["features", "places"], ["prediction"], axis=1)],
        "picks",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["batch", len(places)])],
        [helper.make_tensor("places", TensorProto.INT64, [len(places)], places)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_an_onnx_graph_that_fails_on_the_inputs() -> None:
    def values(places: list[int]) -> dict[str, np.ndarray]:
        graph = OnnxGraph(picked(places), name="graph.onnx", feeds=FEEDS, outputs=("prediction",), weights={})
        return graph.values(["prediction"])

    assert np.array_equal(values([2, 0])["prediction"], FEEDS["features"][:, [2, 0]])
    with pytest.raises(BundleError, match=r"^graph\.onnx fails on the golden inputs \(.*\); export it again$"):
        values([2, 9])


def test_a_graph_that_fails_as_it_is_served(wrong_bundle: Path) -> None:
    bundle = read_bundle(wrong_bundle)
    entry = next(entry for entry in bundle.manifest.files if entry.path == "graph.onnx")
    with pytest.raises(BundleError, match=r"^graph\.onnx fails on the golden inputs \(.*\); export it again$"):
        served_outputs(bundle, entry, {"image": np.zeros((2, 3, 3, 1), np.uint8)})


def test_a_module_that_torch_cannot_capture(digits_bundle: Path) -> None:
    bundle = read_bundle(digits_bundle)
    entry = next(entry for entry in bundle.manifest.files if entry.path == "graph.onnx")
    with pytest.raises(BundleError, match=r" cannot be followed operator by operator: "):
        pair_of(bundle, entry, Decides(), {"image": np.ones((2, 8, 8, 1), np.uint8)})


def test_a_torch_that_does_not_say_what_it_exported_from() -> None:
    with pytest.raises(BundleError, match=r"exports to ONNX without saying from what; use torch 2\.11 or later$"):
        reference_of(SimpleNamespace(exported_program=None), nn.Identity())  # type: ignore[arg-type]


def test_pytorch_that_gives_nothing_finite(wrong_bundle: Path, evaluate: Evaluate) -> None:
    state = torch.load(wrong_bundle / "state_dict.pt", weights_only=True)
    content = io.BytesIO()
    torch.save({name: values * float("nan") for name, values in state.items()}, content)
    replace_file(wrong_bundle, "state_dict.pt", content.getvalue())
    code, _, err = evaluate("blame", str(wrong_bundle))
    assert code == 2
    assert "PyTorch itself gives no finite outputs for the golden inputs of " in err
    assert err.endswith("; export it again\n")


def test_a_capture_that_is_not_the_module(linear: tuple[Pair, Truths]) -> None:
    pair, truths = linear
    other = Truths(reference={"prediction": truths.reference["prediction"] + 1e-3}, eager=truths.eager)
    with pytest.raises(
        BundleError,
        match=r"^net: torch captures the module as operations that give another prediction than the module itself "
        r"\(by 0\.001\), so no operator can be told; look for what forward decides by data$",
    ):
        blame_pair(pair, FEEDS, other, name="net")


def test_where_only_what_is_served_is_wrong_no_operator_is_named(linear: tuple[Pair, Truths]) -> None:
    pair, truths = linear
    served = {"prediction": truths.eager["prediction"] + np.float32(1e-3)}
    blame = blame_pair(pair, FEEDS, truths, name="net", served=served)
    assert (blame.passed, blame.culprit) == (False, None)
    assert blame.output is not None
    assert blame.output.endswith("as it was written, the graph is right: what ONNX Runtime rewrites in it is not")
    assert "no operator adds an error beyond the rule: it is not in the graph as it was written" in printed(blame)
    assert blame_pair(pair, FEEDS, truths, name="net", served=truths.eager).passed


def test_weights_that_no_row_shows_are_named_all_the_same(linear: tuple[Pair, Truths]) -> None:
    pair, truths = linear
    difference = WeightDifference(
        tensor="0.weight", initializer="0.weight", values=12, differing=1, max_difference=0.5, nodes=()
    )
    hidden = Pair(reference=pair.reference, graph=pair.graph, alignment=pair.alignment, differences=(difference,))
    text = printed(blame_pair(hidden, FEEDS, truths, name="net"))
    assert "weights: 0.weight differs from state_dict.pt in 1 of 12 values, by at most 0.5" in text
    assert "but weights differ, which these rows do not show" in text


def test_a_graph_without_a_value_to_compare_is_drawn() -> None:
    blame = Blame(
        name="net",
        graph="graph.onnx",
        rows=2,
        passed=True,
        output=None,
        culprit=None,
        weights=(),
        nodes=(),
        place=None,
        unpaired=("a",),
    )
    assert render(draw_blame(blame), "").png.startswith(b"\x89PNG")


def test_the_axis_of_the_chart_is_readable(digits_bundle: Path) -> None:
    """Mathematical text is off, so that labels of classes may have a dollar; the axis must not need it."""
    figure = draw_blame(blame_graph(read_bundle(digits_bundle)))
    render(figure, "")
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert "exact" in ticks
    assert "1e-07" in ticks
    assert not any("$" in tick for tick in ticks)


def test_the_network_at_hand_must_be_the_bundles(own_bundles: dict[str, Path], tmp_path: Path) -> None:
    from own_bundles import trained

    bundle = read_bundle(copy_bundle(own_bundles["TwoOutputs"], tmp_path / "own"))
    network = trained("TwoOutputs")
    assert blame_graph(bundle, module=network).passed
    with torch.no_grad():
        network.frames.weight += 1
    with pytest.raises(BundleError, match="is not the module given: "):
        blame_graph(bundle, module=network)
