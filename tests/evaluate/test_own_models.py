"""Bundles without a recipe: judged by what they carry, with the code that the user names; every fault is reported."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from altered import copy_bundle
from own_bundles import NETWORKS, samples_of, trained, write_own_bundle
from spoilers import leave_dropout_on, plant, scale_one_weight, swap_outputs, zero_one_bias
from torch import nn

from evaluate.accuracy.measure import measure_accuracy
from evaluate.bench.run import Measurement
from evaluate.bench.settings import Settings
from evaluate.judge import certify
from evaluate.resealed import change_manifest
from export.factory import load_factory
from serve.bundle import BundleError, read_bundle

Evaluate = Callable[..., tuple[int, str, str]]
FACTORY = f"{NETWORKS}:TwoInputs"
GRAPHS = ["graph.onnx", "graph.torchscript.pt", "graph.pt2"]


@pytest.fixture
def wrong_own(own_bundles: dict[str, Path], tmp_path: Path) -> Path:
    """Path of a copy of the two-input bundle that a test may spoil."""
    return copy_bundle(own_bundles["TwoInputs"], tmp_path / "wrong")


def forget_one_word(module: nn.Module) -> None:
    """Change what only one of twenty words shows."""
    with torch.no_grad():
        module.get_submodule("network.words").weight[19] *= 0.9


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(scale_one_weight, "error is rmse", id="one weight +1 %"),
        pytest.param(zero_one_bias, "error is rmse", id="one bias zeroed"),
        pytest.param(leave_dropout_on, "error is rmse", id="dropout left on"),
        pytest.param(forget_one_word, "error is rmse", id="one word changed"),
        pytest.param(swap_outputs, "decisions differ", id="two classes swapped"),
    ],
)
def test_a_spoilt_graph_of_two_inputs_is_reported(
    graph: str, spoil: Callable[[nn.Module], None], message: str, wrong_own: Path, tmp_path: Path
) -> None:
    plant(wrong_own, graph, spoil, tmp_path, factory=load_factory(FACTORY))
    certificate = certify(read_bundle(wrong_own), data_root=tmp_path, factory=load_factory(FACTORY))
    assert not certificate.passed
    assert {judged.verdict for judged in certificate.graphs if judged.graph != graph} == {"pass"}
    reasons = [judged.reason or "" for judged in certificate.graphs if judged.graph == graph]
    drawn = spoil is leave_dropout_on and graph == "graph.onnx"  # told before anything is run
    assert any(("its operator Dropout draws random numbers" if drawn else message) in reason for reason in reasons)


def test_a_right_bundle_of_two_inputs_passes_and_says_what_it_rests_on(
    own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    path = tmp_path / "certificate.json"
    code, out, _ = evaluate(
        "parity",
        str(own_bundles["TwoInputs"]),
        "--trust",
        "--factory",
        FACTORY,
        "--no-certificate",
        "--json",
        str(path),
    )
    assert code == 0
    assert "no recipe to compare with" in out
    assert "held-out samples: the bundle's own 32, because it has no recipe" in out
    certificate = json.loads(path.read_text(encoding="utf-8"))
    assert {graph["graph"] for graph in certificate["graphs"]} == set(GRAPHS)
    sets = {comparison["input_set"] for comparison in certificate["graphs"][0]["comparisons"]}
    assert {"noise x 100", "held-out samples x 0.01", "on the decision boundary", "among hostile neighbours"} <= sets
    assert certificate["precisions"] == {"float32": "pass"}


def test_several_outputs_of_any_rank_are_judged(own_bundles: dict[str, Path], evaluate: Evaluate) -> None:
    code, out, _ = evaluate(
        "parity", str(own_bundles["TwoOutputs"]), "--trust", "--factory", f"{NETWORKS}:TwoOutputs", "--no-certificate"
    )
    assert code == 0
    assert "in the unit of frames" in out


def test_without_samples_noise_stands_in_and_the_report_says_so(tmp_path: Path, evaluate: Evaluate) -> None:
    bundle = write_own_bundle("TwoOutputs", tmp_path, samples=False)
    code, out, _ = evaluate("parity", str(bundle), "--trust", "--factory", f"{NETWORKS}:TwoOutputs", "--no-certificate")
    assert code == 0
    assert "held-out samples: none; noise in their place" in out


def test_inputs_without_a_finite_answer_are_left_out_and_named(
    own_bundles: dict[str, Path], evaluate: Evaluate
) -> None:
    code, out, _ = evaluate(
        "parity",
        str(own_bundles["RootOfSignal"]),
        "--trust",
        "--factory",
        f"{NETWORKS}:RootOfSignal",
        "--no-certificate",
    )
    assert code == 0
    assert re.search(r"left out: noise x 0\.01: PyTorch itself gives no finite outputs for [1-9]\d of 64 rows", out)


def test_code_that_a_bundle_names_is_not_run(own_bundles: dict[str, Path], evaluate: Evaluate) -> None:
    for command in ("parity", "bench"):
        code, _, err = evaluate(command, str(own_bundles["TwoInputs"]), "--trust")
        assert code == 2
        assert "was built by own_networks.py:TwoInputs, and code that a file names is not run; name it yourself" in err


def test_another_factory_is_refused(own_bundles: dict[str, Path], evaluate: Evaluate) -> None:
    code, _, err = evaluate("parity", str(own_bundles["TwoInputs"]), "--trust", "--factory", f"{NETWORKS}:TwoOutputs")
    assert code == 2
    assert "was built by own_networks.py:TwoInputs, but the factory given is own_networks.py:TwoOutputs" in err


def test_a_factory_that_is_not_there_is_trouble(own_bundles: dict[str, Path], evaluate: Evaluate) -> None:
    code, _, err = evaluate("parity", str(own_bundles["TwoInputs"]), "--trust", "--factory", "nowhere.py:Net")
    assert code == 2
    assert "--factory names file nowhere.py, but it does not exist" in err


def test_a_changed_factory_file_is_refused(own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path) -> None:
    changed = tmp_path / "own_networks.py"
    changed.write_text(NETWORKS.read_text(encoding="utf-8").replace("torch.tanh", "torch.sigmoid"), encoding="utf-8")
    code, _, err = evaluate("parity", str(own_bundles["TwoInputs"]), "--trust", "--factory", f"{changed}:TwoInputs")
    assert code == 2
    assert "own_networks.py:TwoInputs has sha256 " in err
    assert "give the file as it was, or export again" in err


def test_the_module_at_hand_is_judged_with(own_bundles: dict[str, Path], tmp_path: Path) -> None:
    network = trained("TwoInputs").train()
    certificate = certify(read_bundle(own_bundles["TwoInputs"]), data_root=tmp_path, module=network, quick=True)
    assert certificate.passed
    assert next(check for check in certificate.checks if check.name == "weights").passed
    assert network.training, "the caller's module is left as it was"


def test_a_module_with_other_weights_fails(own_bundles: dict[str, Path], tmp_path: Path) -> None:
    network = trained("TwoInputs")
    with torch.no_grad():
        network.get_submodule("last").bias += 0.01
    certificate = certify(read_bundle(own_bundles["TwoInputs"]), data_root=tmp_path, module=network, quick=True)
    failed = {check.name: check.detail for check in certificate.checks if not check.passed}
    assert failed["weights"] == "1 tensors of state_dict.pt are not the module's, last.bias among them; export it again"
    assert certificate.precisions == {"float32": "fail"}


def test_a_module_with_other_weights_is_not_measured(own_bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle, network = read_bundle(own_bundles["TwoInputs"]), trained("TwoInputs")
    samples = samples_of("TwoInputs", tmp_path, labelled=True)
    with torch.no_grad():
        network.get_submodule("last").bias += 0.01
    message = (
        "TwoInputs is not the module given: 1 tensors of state_dict.pt are not the module's, last.bias among them; "
        "export it again"
    )
    with pytest.raises(BundleError, match=re.escape(message)):
        measure_accuracy(bundle, data_root=tmp_path, samples=samples, module=network)
    with pytest.raises(BundleError, match=re.escape(message)):
        Measurement(bundle, Settings(quick=True), module=network)


def test_quick_says_that_it_was_quick(own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    options = ("--factory", FACTORY, "--no-certificate", "--json", str(path))
    code, out, _ = evaluate("parity", str(own_bundles["TwoInputs"]), "--trust", "--quick", *options)
    assert code == 0
    assert "quick: few samples and batch sizes" in out
    quick = json.loads(path.read_text(encoding="utf-8"))
    assert quick["setting"]["mode"] == "quick"
    assert all(graph["optimized"] for graph in quick["graphs"])
    assert evaluate("parity", str(own_bundles["TwoInputs"]), "--trust", *options)[0] == 0
    full = json.loads(path.read_text(encoding="utf-8"))
    assert full["setting"]["mode"] == "full"
    assert len(full["graphs"][0]["comparisons"]) > len(quick["graphs"][0]["comparisons"])


def test_rows_that_depend_on_each_other_are_judged_alone(wrong_own: Path, tmp_path: Path) -> None:
    change_manifest(wrong_own, lambda manifest: replace(manifest, row_independent=False))
    certificate = certify(read_bundle(wrong_own), data_root=tmp_path, factory=load_factory(FACTORY))
    assert certificate.passed
    assert {c.batch_size for graph in certificate.graphs for c in graph.comparisons} == {1}
    assert "among hostile neighbours" not in {c.input_set for g in certificate.graphs for c in g.comparisons}


def test_bench_takes_the_factory_and_shows_sizes(
    own_bundles: dict[str, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    path = tmp_path / "bench.json"
    options = ("--quick", "--factory", FACTORY, "--rounds", "2", "--batch-sizes", "2", "--json", str(path))
    assert evaluate("bench", str(own_bundles["TwoInputs"]), "--trust", *options)[0] == 0
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["runner"] for row in rows] == ["eager", *GRAPHS]
    for row in rows[1:]:
        assert row["size_bytes"] == (own_bundles["TwoInputs"] / row["runner"]).stat().st_size


def test_accuracy_without_labelled_samples_is_trouble(own_bundles: dict[str, Path], evaluate: Evaluate) -> None:
    code, _, err = evaluate("accuracy", str(own_bundles["TwoInputs"]), "--trust", "--factory", FACTORY)
    assert code == 2
    assert "has no recipe and carries no labelled samples, so there is nothing to measure accuracy on" in err


def test_what_pytorch_gets_right_of_labelled_samples_is_said(
    tmp_path: Path, evaluate: Callable[..., tuple[int, str, str]]
) -> None:
    bundle = write_own_bundle("TwoInputs", tmp_path, labelled=True, formats=("onnx",))
    code, out, _ = evaluate("parity", str(bundle), "--quick", "--factory", f"{NETWORKS}:TwoInputs")
    assert code == 0
    assert re.search(r"PyTorch itself gets (\d+) of \1 labelled samples right, 100\.0 %", out)
    assert "is the order of the labels" not in out


def test_another_task_than_the_outputs_have_is_refused(own_bundles: dict[str, Path]) -> None:
    manifest = read_bundle(str(own_bundles["TwoInputs"])).manifest
    with pytest.raises(ValueError, match="names the outputs logits, probabilities, but those of a regression are"):
        replace(manifest, task="regression")
