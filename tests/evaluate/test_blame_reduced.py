"""Graphs of reduced precision: nobody is blamed, but it is said what operators cost."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from altered import copy_bundle
from onnx import numpy_helper
from own_bundles import NETWORKS

from evaluate.blame.blame import blame_graph
from evaluate.blame.chart import draw_blame
from evaluate.resealed import replace_file
from export.factory import load_factory
from serve.bundle import read_bundle

Evaluate = Callable[..., tuple[int, str, str]]
FACTORY = f"{NETWORKS}:TwoInputs"


@pytest.mark.parametrize(("graph", "precision"), [("graph.fp16.onnx", "float16"), ("graph.int8.onnx", "int8")])
def test_what_operators_cost(
    graph: str, precision: str, reduced_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    path, chart = tmp_path / "blame.json", tmp_path / "chart.png"
    options = ("--factory", FACTORY, "--graph", graph, "--json", str(path), "--chart", str(chart))
    code, out, _ = evaluate("blame", str(reduced_bundles["TwoInputs"]), *options)
    assert code == 0
    assert f"{graph} computes in {precision}, which no rule holds to float32: nobody is blamed" in out
    found = json.loads(path.read_bytes())
    assert (found["precision"], found["passed"], found["culprit"], found["weights"]) == (precision, True, None, [])
    shares = [cost["share"] for cost in found["costs"]]
    assert shares == sorted(shares, reverse=True)
    assert 0.3 < shares[0] < 2
    assert {"last", "numbers"} & {cost["path"].rpartition(".")[2] for cost in found["costs"]}
    assert max(node["error"] for node in found["nodes"] if node["error"] is not None) > 1e-4
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_an_operator_that_is_spoilt_costs_most(reduced_bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle = copy_bundle(reduced_bundles["TwoInputs"], tmp_path / "spoilt")
    model = onnx.load_from_string((bundle / "graph.fp16.onnx").read_bytes())
    weight = next(t for t in model.graph.initializer if t.name.endswith("numbers.weight") or 6 in t.dims)
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array((values * np.float16(1.3)).astype(values.dtype), weight.name))
    replace_file(bundle, "graph.fp16.onnx", model.SerializeToString())
    blame = blame_graph(read_bundle(bundle), graph="graph.fp16.onnx", factory=load_factory(FACTORY))
    assert blame.costs[0].path.endswith("numbers")
    assert blame.costs[0].share == pytest.approx(1, abs=0.05)
    assert all(cost.share < 0.1 for cost in blame.costs[1:])


def test_the_chart_allows_such_a_graph_nothing(reduced_bundles: dict[str, Path]) -> None:
    bundle = read_bundle(reduced_bundles["TwoInputs"])
    axes = draw_blame(blame_graph(bundle, graph="graph.int8.onnx", factory=load_factory(FACTORY))).axes[0]
    assert "it computes in int8" in axes.get_title(loc="left")
    assert "allowed" not in axes.get_legend_handles_labels()[1]
    usual = draw_blame(blame_graph(bundle, factory=load_factory(FACTORY))).axes[0]
    assert "allowed" in usual.get_legend_handles_labels()[1]
