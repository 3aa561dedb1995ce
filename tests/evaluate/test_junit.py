"""The certificate as JUnit XML, and the figures that tables show of it."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from altered import copy_bundle
from made_up import CERTIFICATE, COMPARISON, GRAPH
from own_bundles import NETWORKS

from evaluate.certificate import Certificate, Check
from evaluate.graph_verdict import Verdict
from evaluate.junit import junit_xml
from evaluate.ratios import max_multiple, rmse_multiple
from evaluate.resealed import replace_file

Evaluate = Callable[..., tuple[int, str, str]]


def parsed(document: bytes) -> ET.Element:
    return ET.fromstring(document)  # noqa: S314 - of our own making


def suites_of(certificate: Certificate) -> dict[str, ET.Element]:
    root = parsed(junit_xml(certificate))
    for name in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(name, "-1")) == sum(int(suite.get(name, "-1")) for suite in root)
    return {suite.get("name", ""): suite for suite in root}


def counts(suite: ET.Element) -> tuple[int, int, int]:
    return int(suite.get("tests", "-1")), int(suite.get("failures", "-1")), int(suite.get("errors", "-1"))


def test_a_suite_of_each_graph_and_way_and_one_of_checks() -> None:
    suites = suites_of(CERTIFICATE)
    onnx = "graph.onnx on CPU, "
    assert list(suites) == ["checks", f"{onnx}2 threads", f"{onnx}2 threads, as written", f"{onnx}1 thread"]
    assert [counts(suite) for suite in suites.values()] == [(1, 0, 0), (2, 0, 0), (2, 0, 0), (2, 0, 0)]
    cases = [(case.get("classname"), case.get("name")) for case in suites[f"{onnx}1 thread"].iter("testcase")]
    assert cases == [
        ("graph.onnx", "held-out samples, batch 64: logits"),
        ("graph.onnx", "random pixels, batch 64: logits"),
    ]
    properties = {one.get("name"): one.get("value") for one in suites["checks"].iter("property")}
    assert properties["bundle_sha256"] == "ab" * 32
    assert properties["held_out_sha256"] == "cd" * 32
    assert properties["version.torch"] == "2.15.0"
    assert properties["onnxruntime_threads"] == "2"


@pytest.mark.parametrize("verdict", ["fail", "unproven"])
def test_a_difference_is_a_failure_with_its_sentence(verdict: str) -> None:
    reason = "error is rmse 1 & max <2>"
    wrong = replace(COMPARISON, verdict=verdict, reason=reason)
    graph = replace(GRAPH, verdict=verdict, reason=f"logits: {reason}", comparisons=(COMPARISON, wrong))
    (_, suite) = suites_of(replace(CERTIFICATE, graphs=(graph,))).values()
    assert counts(suite) == (2, 1, 0)
    (failure,) = suite.iter("failure")
    assert (failure.get("type"), failure.get("message"), failure.text) == (verdict, reason, reason)


def test_a_graph_that_does_not_run_is_an_error() -> None:
    reason = "graph.onnx cannot be run"
    graph = replace(GRAPH, verdict="fail", reason=reason, comparisons=())
    (_, suite) = suites_of(replace(CERTIFICATE, graphs=(graph,))).values()
    assert counts(suite) == (1, 0, 1)
    assert [error.get("message") for error in suite.iter("error")] == [reason]


@pytest.mark.parametrize("verdict", ["unproven", "fail"])
def test_a_graph_that_stops_running_is_an_error_whatever_was_found_before(verdict: Verdict) -> None:
    reason = "it fails on held-out samples again at batch size 7 (boom)"
    before = replace(COMPARISON, verdict=verdict, reason="it varies too little")
    graph = replace(GRAPH, verdict="fail", reason=reason, comparisons=(before,))
    (_, suite) = suites_of(replace(CERTIFICATE, graphs=(graph,))).values()
    assert counts(suite) == (2, 1, 1)
    assert [error.get("message") for error in suite.iter("error")] == [reason]
    assert [failure.get("message") for failure in suite.iter("failure")] == ["it varies too little"]


def test_bounds_that_were_widened_are_said() -> None:
    wide = replace(COMPARISON, slack=59.96, input_set="noise")
    note = "its rounding goes 60.0 times beyond the bounds"
    graph = replace(GRAPH, comparisons=(COMPARISON, wide, replace(wide, slack=2.0)), note=note)
    (_, suite) = suites_of(replace(CERTIFICATE, graphs=(graph,))).values()
    assert counts(suite) == (3, 0, 0)
    assert [child.tag for child in suite] == ["properties", *["testcase"] * 3, "system-out"]
    assert [(one.get("name"), one.get("value")) for one in suite.iter("property")] == [("slack", "60")]
    assert suite.findtext("system-out") == note
    assert [case.findtext("system-out") for case in suite.iter("testcase")] == [
        None,
        "compared within bounds 60 times as wide as the rule's",
        "compared within bounds 2 times as wide as the rule's",
    ]
    (_, usual) = suites_of(replace(CERTIFICATE, graphs=(GRAPH,))).values()
    assert [child.tag for child in usual] == ["testcase", "testcase"]


def test_multiples_are_of_what_pytorch_is_off_whatever_slack_a_coarse_runtime_was_given() -> None:
    assert rmse_multiple([COMPARISON]) == pytest.approx(1)
    assert max_multiple([COMPARISON, replace(COMPARISON, max_error=2e-6)]) == pytest.approx(2)
    wide = replace(COMPARISON, rmse=5e-7, slack=10.0)
    assert rmse_multiple([wide]) == pytest.approx(5)
    assert rmse_multiple([replace(COMPARISON, rmse_bound=0.0)]) == math.inf
    assert rmse_multiple([replace(COMPARISON, rmse=0.0, rmse_bound=0.0)]) == 0
    for nothing in ([], [COMPARISON, replace(COMPARISON, rmse=None)], [replace(COMPARISON, rmse_bound=None)]):
        assert rmse_multiple(nothing) is None


@pytest.mark.parametrize(("verdict", "failures"), [("pass", 0), ("fail", 1), ("unproven", 1)])
def test_reduced_precision_is_a_case_of_its_own(verdict: str, failures: int) -> None:
    graph = replace(GRAPH, precision="int8", verdict=verdict, reason="accuracy drops by 2 points")
    (_, suite) = suites_of(replace(CERTIFICATE, graphs=(graph,))).values()
    assert counts(suite) == (3, failures, 0)
    assert [one.get("type") for one in suite.iter("failure")] == [verdict] * failures


def test_checks_fail_and_what_is_left_out_is_skipped() -> None:
    setting = replace(CERTIFICATE.setting, skipped=("noise: no finite outputs",), not_judged=("graph.pt2",))
    check = Check(name="labels", passed=False, detail="label 3 is 'a', but the recipe says 'b'")
    suite = suites_of(replace(CERTIFICATE, setting=setting, checks=(check,)))["checks"]
    assert counts(suite) == (3, 1, 0)
    assert suite.get("skipped") == "2"
    assert [one.get("message") for one in suite.iter("skipped")] == [
        "noise: no finite outputs",
        "graph.pt2 was not judged",
    ]
    assert [one.get("message") for one in suite.iter("failure")] == [check.detail]


def test_what_xml_cannot_hold_is_taken_away() -> None:
    name = "in\x00put\x1b[31m\ufffe set\ud800 \U0001f600\tü"
    graph = replace(GRAPH, graph=name, comparisons=(replace(COMPARISON, input_set=name),))
    suites = suites_of(replace(CERTIFICATE, name=name, graphs=(graph,)))
    clean = "input[31m set \U0001f600\tü"
    assert f"{clean} on CPU, 2 threads" in suites
    case = suites[f"{clean} on CPU, 2 threads"].find("testcase")
    assert case is not None
    assert case.get("name") == f"{clean}, batch 64: logits"


def test_the_command_writes_it_whatever_the_verdict(
    own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    bundle, path = copy_bundle(own_bundles["TwoInputs"], tmp_path / "bundle"), tmp_path / "junit.xml"
    options = ("--quick", "--no-certificate", "--runners", "onnx", "torchscript", "--junit", str(path))
    factory = ("--factory", f"{NETWORKS}:TwoInputs")
    assert evaluate("parity", str(bundle), *options, *factory)[0] == 0
    root = parsed(path.read_bytes())
    assert (root.get("name"), root.get("failures"), root.get("errors")) == ("parity of TwoInputs", "0", "0")
    assert int(root.get("tests", "0")) > 40
    replace_file(bundle, "graph.torchscript.pt", b"nothing")
    assert evaluate("parity", str(bundle), *options, *factory)[0] == 1
    root = parsed(path.read_bytes())
    assert (root.get("failures"), root.get("errors")) == ("0", "1")
    (error,) = root.iter("error")
    assert "graph.torchscript.pt cannot be loaded by torch" in (error.get("message") or "")


def test_a_place_where_it_cannot_be_written_does_not_cost_the_certificate(
    own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    bundle, path = copy_bundle(own_bundles["TwoInputs"], tmp_path / "bundle"), tmp_path / ("x" * 250)
    options = ("--quick", "--runners", "onnx", "--factory", f"{NETWORKS}:TwoInputs")
    code, out, err = evaluate("parity", str(bundle), *options, "--junit", str(path))
    assert code == 2
    assert err.startswith(f"error: --junit is {path}, but it cannot be written (File name too long); give ")
    assert "parity holds" in out
    assert (bundle / "certificate.json").exists()
