"""Blame names the operator that was spoilt, and nobody where nothing was."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from evaluate.blame.follow import judge
from evaluate.blame.plant_onnx import plant_all
from evaluate.blame.study import run_study
from evaluate.resealed import change_manifest, replace_file
from export.deployable import rebuild
from export.to_torchscript import export_torchscript
from serve.bundle import read_bundle

Evaluate = Callable[..., tuple[int, str, str]]


def plant(bundle: Path, fault: str) -> None:
    planted = next(p for p in plant_all((bundle / "graph.onnx").read_bytes()) if fault in p.fault)
    replace_file(bundle, "graph.onnx", planted.content)


def plant_in_trace(bundle: Path, spoil: Callable[[nn.Module], object], tmp_path: Path) -> None:
    checked = read_bundle(bundle)
    module = rebuild(checked)
    spoil(module)
    examples = (torch.zeros(2, *checked.manifest.inputs[0].shape[1:], dtype=torch.uint8),)
    path = tmp_path / "graph.torchscript.pt"
    export_torchscript(module, examples, path, outputs=checked.manifest.outputs)
    replace_file(bundle, path.name, path.read_bytes())


@pytest.mark.slow
def test_planted_operators_are_found(record_property: Callable[[str, object], None]) -> None:
    """`python -m evaluate blame --study` plants all 240; these are some of every network and format."""
    results = run_study(every=6)
    visible = [result for result in results if result.visible]
    missed = [result for result in visible if not result.found]
    record_property("blame", f"{len(visible) - len(missed)} of {len(visible)} planted operators found")
    assert len(visible) >= 40
    assert {(r.network, r.graph) for r in visible} == {
        (network, graph) for network in ("cnn", "mlp", "transformer", "tabular") for graph in ("ONNX", "TorchScript")
    }
    assert len(missed) <= 0.05 * len(visible), missed
    assert all(result.found for result in results if not result.visible), "somebody was named though nothing is wrong"


@pytest.mark.parametrize("graph", ["graph.onnx", "graph.torchscript.pt"])
def test_nobody_is_blamed_for_a_right_graph(
    graph: str, digits_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    chart, record = tmp_path / "chart.png", tmp_path / "blame.json"
    code, out, _ = evaluate("blame", str(digits_bundle), "--graph", graph, "--chart", str(chart), "--json", str(record))
    assert code == 0
    assert "nothing diverges: every output keeps the rule" in out
    assert "weights:" not in out
    assert chart.read_bytes().startswith(b"\x89PNG")
    found = json.loads(record.read_bytes())
    assert found["passed"]
    assert found["culprit"] is None
    assert found["unpaired"] == []
    assert found["nodes"][0]["path"] == "input_module"


def test_a_changed_weight_is_named_with_its_tensor(wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    plant(wrong_bundle, "one weight +5 % at Conv node_conv2d_1")
    chart = tmp_path / "chart.png"
    code, out, _ = evaluate("blame", str(wrong_bundle), "--chart", str(chart))
    assert code == 1
    assert "weights: network.features.2.weight differs from state_dict.pt in 1 of 18432 values, by at most" in out
    assert "culprit: Conv (node_conv2d_1) gives other values than PyTorch's operation does on the same inputs" in out
    assert re.search(r"10 of the \d+ values compared; --json FILE has all", out)
    assert "module network.features.2" in out
    assert "source train/models/digits_cnn.py:" in out
    assert chart.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param("another operator at Sub", "module input_module", id="preprocessing"),
        pytest.param(
            "value through float16 at Conv node_conv2d_1", "is in the graph, but not in the module", id="cast"
        ),
        pytest.param("left out at Relu node_relu_1", "Relu (node_relu_1) is in the module, but not in", id="left out"),
        pytest.param("other axis at Softmax", "axis is 0, but 1 where it is exported anew", id="axis"),
    ],
)
def test_what_is_wrong_is_said(fault: str, message: str, wrong_bundle: Path, evaluate: Evaluate) -> None:
    plant(wrong_bundle, fault)
    code, out, _ = evaluate("blame", str(wrong_bundle))
    assert code == 1
    assert message in out


def test_a_graph_that_says_nothing_of_its_source_is_followed(wrong_bundle: Path, evaluate: Evaluate) -> None:
    plant(wrong_bundle, "bias dropped at Gemm node_linear_1")
    model = onnx.load_from_string((wrong_bundle / "graph.onnx").read_bytes())
    for node in model.graph.node:
        del node.metadata_props[:]
    replace_file(wrong_bundle, "graph.onnx", model.SerializeToString())
    code, out, _ = evaluate("blame", str(wrong_bundle))
    assert code == 1
    assert "culprit: Gemm (node_linear_1)" in out


def test_a_dropout_that_draws_is_named_and_no_operator_after_it(wrong_bundle: Path, evaluate: Evaluate) -> None:
    model = onnx.load(wrong_bundle / "graph.onnx")
    place, conv = [(i, node) for i, node in enumerate(model.graph.node) if node.op_type == "Conv"][1]
    numbers = ((onnx.TensorProto.FLOAT, 0.3), (onnx.TensorProto.BOOL, True))
    names = ["ratio", "training"]
    model.graph.initializer.extend(
        helper.make_tensor(name, kind, [], [number]) for name, (kind, number) in zip(names, numbers, strict=True)
    )
    model.graph.node.insert(place, helper.make_node("Dropout", [conv.input[0], *names], ["dropped"], name="left_on"))
    model.graph.node[place + 1].input[0] = "dropped"
    replace_file(wrong_bundle, "graph.onnx", model.SerializeToString())
    code, out, _ = evaluate("blame", str(wrong_bundle))
    assert code == 1
    assert "culprit: Dropout (left_on) draws random numbers, which no right graph does" in out
    code, out, _ = evaluate("parity", str(wrong_bundle), "--quick", "--no-certificate")
    assert code == 1
    assert "its operator Dropout draws random numbers" in out


def test_an_operator_after_the_last_is_named(wrong_bundle: Path, evaluate: Evaluate) -> None:
    model = onnx.load_from_string((wrong_bundle / "graph.onnx").read_bytes())
    last = next(node for node in model.graph.node if "probabilities" in node.output)
    last.output[0] = "once"
    model.graph.node.append(helper.make_node("Softmax", ["once"], ["probabilities"], name="again", axis=1))
    replace_file(wrong_bundle, "graph.onnx", model.SerializeToString())
    code, out, _ = evaluate("blame", str(wrong_bundle))
    assert code == 1
    assert "culprit: Softmax (again) is in the graph, but not in the module" in out


def test_preprocessing_in_torchscript_is_named(wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    plant_in_trace(wrong_bundle, lambda module: module.input_module.mean.add_(0.01), tmp_path)
    code, out, _ = evaluate("blame", str(wrong_bundle), "--graph", "graph.torchscript.pt")
    assert code == 1
    assert "culprit: sub" in out
    assert "module input_module" in out
    assert "source train/models/image_input.py:" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param((), "no BUNDLE was given, but a directory", id="no bundle"),
        pytest.param(("none",), "none does not exist, but a bundle directory was expected", id="no such bundle"),
        pytest.param(("BUNDLE", "--graph", "x.onnx"), "holds no graph 'x.onnx'; its graphs are graph.onnx", id="graph"),
        pytest.param(("BUNDLE", "--chart", "x.svg"), "--chart is x.svg, but the chart is a PNG", id="chart"),
        pytest.param(("BUNDLE", "--factory", "math:sin"), "but the factory given is math:sin", id="factory"),
    ],
)
def test_errors_are_one_sentence(
    args: tuple[str, ...], message: str, digits_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    code, _, err = evaluate("blame", *(str(digits_bundle) if arg == "BUNDLE" else arg for arg in args))
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_an_exported_program_is_not_followed(wrong_bundle: Path, evaluate: Evaluate) -> None:
    change_manifest(
        wrong_bundle,
        lambda manifest: replace(
            manifest,
            files=tuple(
                replace(f, format="exported-program", precision=None) if f.path == "graph.onnx" else f
                for f in manifest.files
            ),
        ),
    )
    code, _, err = evaluate("blame", str(wrong_bundle), "--trust", "--graph", "graph.onnx")
    assert code == 2
    assert "graph.onnx is an exported program, but blame reads ONNX and TorchScript; give --graph with one" in err


def test_a_bundle_without_a_graph_to_follow(wrong_bundle: Path, evaluate: Evaluate) -> None:
    change_manifest(
        wrong_bundle,
        lambda manifest: replace(
            manifest, files=tuple(f for f in manifest.files if f.format not in {"onnx", "torchscript"})
        ),
    )
    code, _, err = evaluate("blame", str(wrong_bundle))
    assert code == 2
    assert "holds no ONNX or TorchScript graph in float32, but blame reads those" in err


def test_values_between_operators_may_be_infinite_where_both_are() -> None:
    reference = np.array([1.0, -np.inf, 2.0])
    eager = reference.astype(np.float32)
    assert judge(eager.copy(), eager=eager, reference=reference).passed
    assert not judge(np.array([1.0, 0.0, 2.0], np.float32), eager=eager, reference=reference).passed
    assert not judge(np.array([np.nan, -np.inf, 2.0], np.float32), eager=eager, reference=reference).passed


def test_another_shape_or_dtype_is_a_fault() -> None:
    reference = np.ones((2, 3))
    eager = reference.astype(np.float32)
    for found in (np.ones((3, 2), np.float32), np.ones((2, 3), np.float16)):
        assert judge(found, eager=eager, reference=reference).fault is not None


def test_flags_are_compared_and_nothing_is_equal_to_nothing() -> None:
    flags = np.array([True, False, True])
    assert judge(flags, eager=flags, reference=flags).passed
    assert not judge(~flags, eager=flags, reference=flags).passed
    empty = np.zeros((0, 3))
    assert judge(empty.astype(np.float32), eager=empty.astype(np.float32), reference=empty).passed
