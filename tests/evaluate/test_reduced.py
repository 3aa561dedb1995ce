"""float16 and int8 graphs: judged by decisions and by the size of their error, with both sides of each bound."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from altered import copy_bundle
from onnx import numpy_helper
from own_bundles import NETWORKS
from scipy.stats import binomtest

from evaluate.certificate import Certificate
from evaluate.graph_verdict import Decisions, OutputError
from evaluate.reduced import compare_decisions, judge_decisions, judge_reduced, paired_drop
from evaluate.resealed import replace_file

Evaluate = Callable[..., tuple[int, str, str]]
INT8, FP16 = "graph.int8.onnx", "graph.fp16.onnx"


def rights(lost: int, gained: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a reference and a candidate get right, with so many disagreements."""
    reference, candidate = np.ones(rows, bool), np.ones(rows, bool)
    candidate[:lost] = False
    reference[lost : lost + gained] = False
    return reference, candidate


def test_the_drop_counts_what_is_lost_less_what_is_gained() -> None:
    drop = paired_drop(*rights(lost=30, gained=10, rows=1000))
    assert (drop.lost, drop.gained, drop.drop) == (30, 10, 0.02)
    low, high = drop.interval_95
    assert low < 0.02 < high
    assert drop.mcnemar_p == pytest.approx(binomtest(10, 40).pvalue)


def test_two_that_never_disagree_still_have_an_interval() -> None:
    drop = paired_drop(*rights(lost=0, gained=0, rows=400))
    assert drop.drop == 0
    assert drop.mcnemar_p == 1
    assert drop.interval_95 == (pytest.approx(-drop.interval_95[1]), pytest.approx(0.0069, abs=1e-4))


def test_the_interval_holds_the_true_drop_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    held, trials, rows = 0, 2000, 500
    for _ in range(trials):
        lost, gained, _ = rng.multinomial(rows, [0.03, 0.015, 0.955])
        low, high = paired_drop(*rights(int(lost), int(gained), rows)).interval_95
        held += low <= 0.015 <= high
    assert 0.94 <= held / trials <= 0.97


def decisions(lost: int, gained: int, rows: int, max_drop: float = 0.005) -> Decisions:
    right, candidate_right = rights(lost, gained, rows)
    eager, candidate = (np.where(r, 1.0, -1.0)[:, None] for r in (right, candidate_right))
    return compare_decisions(
        candidate, eager=eager, class_index=np.ones(rows, np.int64), source="rows", max_drop=max_drop
    )


@pytest.mark.parametrize(
    ("lost", "gained", "rows", "verdict"),
    [
        pytest.param(0, 0, 100, "pass", id="nothing lost"),
        pytest.param(5, 0, 1000, "pass", id="at the bound"),
        pytest.param(6, 0, 1000, "unproven", id="above it, by chance or not"),
        pytest.param(60, 40, 1000, "unproven", id="much in both directions"),
        pytest.param(60, 0, 1000, "fail", id="the whole interval above it"),
        pytest.param(0, 60, 1000, "pass", id="better than eager"),
        pytest.param(1, 0, 32, "unproven", id="too few rows"),
    ],
)
def test_what_is_measured_decides_and_the_interval_tells_failure_from_chance(
    lost: int, gained: int, rows: int, verdict: str
) -> None:
    found, sentence = judge_decisions(decisions(lost, gained, rows))
    assert found == verdict
    assert "95 % interval" in sentence
    assert "0.5 allowed" in sentence


def test_the_sentence_names_everything() -> None:
    _, sentence = judge_decisions(decisions(30, 10, 1000))
    assert sentence.startswith(
        "accuracy drops by 2.00 points (95 % interval 0.73 to 3.26, 0.5 allowed) over 1000 labelled rows, 30 lost and "
        "10 gained, McNemar p = 0.0022; 40 of 1000 decisions flip (4.00 %, 95 % interval 2.87 to 5.41)"
    )


def test_without_labels_flips_decide() -> None:
    logits = np.ones((1000, 1))
    flipped = logits.copy()
    for flips, verdict in ((5, "pass"), (6, "unproven"), (60, "fail")):
        flipped[:flips] = -1
        found = compare_decisions(flipped, eager=logits, class_index=None, source="rows", max_drop=0.005)
        assert found.labelled_rows == 0
        assert found.accuracy_drop is None
        assert judge_decisions(found)[0] == verdict
        assert "no row is labelled" in judge_decisions(found)[1]


def test_an_error_near_the_signal_fails_whatever_is_decided() -> None:
    def output(sqnr_db: float) -> OutputError:
        return OutputError(output="y", rms_error=1, max_error=1, spread=1, sqnr_db=sqnr_db, min_sqnr_db=10)

    assert judge_reduced((output(10),), decisions(0, 0, 100))[0] == "pass"
    assert judge_reduced((output(9.9),), decisions(0, 0, 100))[0] == "fail"
    assert judge_reduced((output(40), output(float("nan"))), None)[0] == "fail"


def evaluated(bundle: Path, name: str, evaluate: Evaluate, *options: str) -> tuple[int, Certificate, str]:
    path = bundle.parent / f"{bundle.name}.json"
    arguments = ("--factory", f"{NETWORKS}:{name}", "--json", str(path), *options)
    code, out, _ = evaluate("parity", str(bundle), *arguments)
    return code, msgspec.json.decode(path.read_bytes(), type=Certificate), out


@pytest.fixture
def wrong_reduced(reduced_bundles: dict[str, Path], tmp_path: Path) -> Path:
    """Path of a copy of the labelled bundle that a test may spoil."""
    return copy_bundle(reduced_bundles["TwoInputs"], tmp_path / "wrong")


def test_reduced_graphs_of_labelled_rows_pass_by_their_decisions(
    reduced_bundles: dict[str, Path], evaluate: Evaluate
) -> None:
    code, certificate, out = evaluated(
        reduced_bundles["TwoInputs"], "TwoInputs", evaluate, "--no-certificate", "--max-drop", "4"
    )
    assert code == 0
    assert certificate.precisions == {"float32": "pass", "float16": "pass", "int8": "pass"}
    assert "reduced precision: the measured loss of accuracy" in certificate.rule
    for graph in certificate.graphs:
        if graph.precision == "float32":
            continue
        assert graph.reduced is not None
        assert graph.reduced.decisions is not None
        assert graph.reduced.decisions.labelled_rows == 32
        assert graph.reduced.decisions.max_drop == 0.04
        assert [output.output for output in graph.reduced.outputs] == ["logits"]
    half = next(graph for graph in certificate.graphs if graph.precision == "float16")
    assert "computed in float32 between casts" in (half.note or "")
    assert "float16 on the CPU is computed in float32 between casts" in out
    assert "float16 and int8 within the bounds of reduced precision" in out


def test_reduced_graphs_of_tensors_pass_by_the_size_of_their_error(
    reduced_bundles: dict[str, Path], evaluate: Evaluate
) -> None:
    code, certificate, _ = evaluated(reduced_bundles["TwoOutputs"], "TwoOutputs", evaluate, "--no-certificate")
    assert code == 0
    for graph in certificate.graphs:
        if graph.reduced is not None:
            assert graph.reduced.decisions is None
            assert [output.output for output in graph.reduced.outputs] == ["frames", "mean"]
            assert all(output.sqnr_db >= output.min_sqnr_db for output in graph.reduced.outputs)


def break_scale(bundle: Path, factor: float) -> None:
    """Make one scale of the int8 graph wrong."""
    model = onnx.load_from_string((bundle / INT8).read_bytes())
    node = [node for node in model.graph.node if node.op_type == "DequantizeLinear"][-1]
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    broken = numpy_helper.to_array(scale) * np.float32(factor)
    scale.CopyFrom(numpy_helper.from_array(broken.astype(np.float32), scale.name))
    replace_file(bundle, INT8, model.SerializeToString())


@pytest.mark.parametrize("factor", [4.0, 0.1, float("nan")])
def test_an_int8_graph_with_a_broken_scale_fails_and_the_others_pass(
    factor: float, wrong_reduced: Path, evaluate: Evaluate
) -> None:
    break_scale(wrong_reduced, factor)
    code, certificate, out = evaluated(wrong_reduced, "TwoInputs", evaluate, "--max-drop", "4")
    assert code == 1
    assert certificate.precisions == {"float32": "pass", "float16": "pass", "int8": "fail"}
    assert "parity fails" in out


def test_a_float16_graph_of_other_weights_fails(wrong_reduced: Path, evaluate: Evaluate) -> None:
    model = onnx.load_from_string((wrong_reduced / FP16).read_bytes())
    weight = max(
        (t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16 and len(t.dims) == 2),
        key=lambda t: len(t.raw_data),
    )
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float16(0.8), weight.name))
    replace_file(wrong_reduced, FP16, model.SerializeToString())
    code, certificate, _ = evaluated(wrong_reduced, "TwoInputs", evaluate, "--max-drop", "4")
    assert code == 1
    assert certificate.precisions["float16"] == "fail"
    assert "signal to error" in next(g.reason or "" for g in certificate.graphs if g.precision == "float16")


def test_ranges_measured_over_the_batch_are_reported(wrong_reduced: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    """Dynamic quantisation: the answer to one row depends on the rows that others send."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load_from_string((wrong_reduced / "graph.onnx").read_bytes())
    del model.graph.value_info[:]  # the quantiser renames shapes, and then finds that they do not fit
    onnx.save(model, tmp_path / "graph.onnx")
    quantize_dynamic(tmp_path / "graph.onnx", wrong_reduced / INT8, weight_type=QuantType.QInt8)
    replace_file(wrong_reduced, INT8, (wrong_reduced / INT8).read_bytes())
    code, certificate, _ = evaluated(wrong_reduced, "TwoInputs", evaluate, "--max-drop", "50")
    assert code == 1
    reason = next(g.reason or "" for g in certificate.graphs if g.precision == "int8")
    assert "of a row depends on the other rows of its batch" in reason


@pytest.mark.parametrize("drop", ["-1", "101", "nan"])
def test_a_bound_out_of_range_is_trouble(drop: str, reduced_bundles: dict[str, Path], evaluate: Evaluate) -> None:
    code, _, err = evaluate("parity", str(reduced_bundles["TwoInputs"]), f"--max-drop={drop}")
    assert code == 2
    assert f"error: --max-drop is {drop}, but points of a per cent lie in 0 to 100\n" == err


def test_accuracy_shows_sizes_and_points_lost(
    reduced_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    path = tmp_path / "accuracy.json"
    options = ("--factory", f"{NETWORKS}:TwoInputs", "--json", str(path))
    code, out, _ = evaluate("accuracy", str(reduced_bundles["TwoInputs"]), *options)
    assert code == 0
    assert "on the bundle's own 32 labelled samples, because it has no recipe" in out
    graphs = json.loads(path.read_text(encoding="utf-8"))["graphs"]
    assert [graph["graph"] for graph in graphs] == ["eager", "graph.onnx", FP16, INT8]
    assert graphs[0]["drop"] is None
    assert (graphs[3]["drop"]["lost"], graphs[3]["drop"]["gained"]) == (0, 0)
    assert graphs[3]["size_bytes"] == (reduced_bundles["TwoInputs"] / INT8).stat().st_size


def test_accuracy_counts_what_a_spoilt_graph_loses(wrong_reduced: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    break_scale(wrong_reduced, -1.0)
    path = tmp_path / "accuracy.json"
    code, _, _ = evaluate("accuracy", str(wrong_reduced), "--factory", f"{NETWORKS}:TwoInputs", "--json", str(path))
    assert code == 0
    eager, *others = json.loads(path.read_text(encoding="utf-8"))["graphs"]
    lost = {graph["graph"]: graph["drop"]["lost"] for graph in others}
    assert lost == {"graph.onnx": 0, FP16: 0, INT8: eager["correct"] - others[-1]["correct"]}
    assert lost[INT8] > 0
