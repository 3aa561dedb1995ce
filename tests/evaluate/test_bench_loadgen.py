"""MLPerf's load generator: what answers it, and what its summary says."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluate.bench.loadgen import Answering, read_summary
from evaluate.bench.result import BenchError

Evaluate = Callable[..., tuple[int, str, str]]
INVALID = """================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Server
Completed samples per second    : 92.53
Result is : INVALID
  Performance constraints satisfied : Yes
  Early stopping satisfied: NO
Recommendations:
 * Reduce target QPS to improve latency.
Early Stopping Result:
 * Run unsuccessful.

99.00 percentile latency (ns)   : 1323121
"""


class Recording:
    def __init__(self, fault: str | None = None) -> None:
        self.batches: list[list[int]] = []
        self.fault = fault

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.batches.append(inputs["x"][:, 0].tolist())
        if self.fault:
            raise RuntimeError(self.fault)
        return {}


def answers(
    runner: Recording, issued: Sequence[Sequence[tuple[int, int]]], largest: int
) -> tuple[Answering, list[int]]:
    done: list[int] = []
    answering = Answering(runner, {"x": np.arange(5).reshape(5, 1)}, largest=largest, complete=done.extend)
    for samples in issued:
        answering.issue(samples)
    answering.close()
    return answering, done


def test_every_query_is_answered_with_its_own_row_in_order() -> None:
    runner = Recording()
    answering, done = answers(runner, [[(100 + i, i % 5) for i in range(7)], [(200, 3)], [(300, 4), (301, 0)]], 3)
    assert done == [100, 101, 102, 103, 104, 105, 106, 200, 300, 301]
    assert [row for batch in runner.batches for row in batch] == [0, 1, 2, 3, 4, 0, 1, 3, 4, 0]
    assert max(map(len, runner.batches)) <= 3
    assert answering.fault is None


def test_what_fails_is_answered_too_and_kept() -> None:
    answering, done = answers(Recording("no such thing"), [[(1, 0), (2, 1)]], 8)
    assert done == [1, 2]
    assert answering.fault == "no such thing"


def test_a_run_that_breaks_the_rules_says_which() -> None:
    scenario = read_summary(INVALID, scenario="Server", graph="graph.onnx")
    assert not scenario.valid
    assert scenario.value == 92.53
    assert scenario.summary["99.00 percentile latency (ns)"] == "1323121"
    assert scenario.advice == ("Early stopping satisfied: NO", "Reduce target QPS to improve latency.")


def test_a_valid_run_needs_no_advice() -> None:
    scenario = read_summary(INVALID.replace("INVALID", "VALID"), scenario="Server", graph="graph.onnx")
    assert scenario.valid
    assert scenario.advice == ()


def test_a_summary_without_its_figure_is_trouble() -> None:
    with pytest.raises(BenchError, match=r"summary of Offline says no 'Samples per second'; use the version of"):
        read_summary(INVALID, scenario="Offline", graph="graph.onnx")


def test_the_load_generator_asks_the_graph(digits_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen", reason="the extra loadgen is not installed")
    path = tmp_path / "bench.json"
    options = ("--quick", "--rounds", "1", "--batch-sizes", "1", "8", "--threads", "1", "--json", str(path))
    code, out, _ = evaluate(
        "bench", str(digits_bundle), *options, "--loadgen", "0.5", "--target-qps", "50", "--latency-ms", "500"
    )
    assert code == 0
    scenarios = json.loads(path.read_text(encoding="utf-8"))["scenarios"]
    assert [scenario["scenario"] for scenario in scenarios] == ["SingleStream", "Offline", "Server"]
    assert all(scenario["value"] > 0 for scenario in scenarios)
    assert scenarios[2]["summary"]["target_qps"] == "50"
    assert scenarios[2]["summary"]["target_latency (ns)"] == "500000000"
    assert "loadgen Server, graph.onnx: Completed samples per second" in out
