"""Parity can fail: each of these faults leaves a bundle whose digests all fit, and each must be reported."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from spoilers import leave_dropout_on, plant, scale_one_weight, swap_outputs, zero_one_bias
from torch import nn

from evaluate.certificate import Certificate
from evaluate.resealed import change_manifest, replace_file
from export.deployable import rebuild
from serve.bundle import CERTIFICATE, Manifest, read_bundle
from serve.golden import Golden, encode_golden, read_golden

Evaluate = Callable[..., tuple[int, str, str]]
GRAPHS = ["graph.onnx", "graph.torchscript.pt"]


def shift_mean(module: nn.Module) -> None:
    input_module = module.input_module
    input_module.mean += 0.01


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(scale_one_weight, "error is rmse", id="one weight +1 %"),
        pytest.param(zero_one_bias, "error is rmse", id="one bias zeroed"),
        pytest.param(leave_dropout_on, "error is rmse", id="dropout left on"),
        pytest.param(shift_mean, "error is rmse", id="wrong mean"),
        pytest.param(swap_outputs, "decisions differ", id="two classes swapped"),
    ],
)
def test_a_spoilt_graph_is_reported(
    graph: str, spoil: Callable[[nn.Module], None], message: str, wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    plant(wrong_bundle, graph, spoil, tmp_path)
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert "parity fails: this bundle is not the model that was trained" in out
    certificate = msgspec.json.decode((wrong_bundle / CERTIFICATE).read_bytes(), type=Certificate)
    assert not certificate.passed
    assert {judged.verdict for judged in certificate.graphs if judged.graph != graph} == {"pass"}
    reasons = [
        judged.reason or "" for judged in certificate.graphs if judged.graph == graph and judged.verdict == "fail"
    ]
    drawn = spoil is leave_dropout_on and graph == "graph.onnx"  # told before anything is run
    assert any(("its operator Dropout draws random numbers" if drawn else message) in reason for reason in reasons)


def test_swapped_labels_are_reported(wrong_bundle: Path, evaluate: Evaluate) -> None:
    def swap(manifest: Manifest) -> Manifest:
        labels = list(manifest.labels)
        labels[3], labels[8] = labels[8], labels[3]
        return replace(manifest, labels=tuple(labels))

    change_manifest(wrong_bundle, swap)
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert "labels: label 3 is '8', but the recipe says '3'; export the run again" in out


def test_a_missing_label_is_reported(wrong_bundle: Path, evaluate: Evaluate) -> None:
    change_manifest(wrong_bundle, lambda m: replace(m, task="tensors", labels=m.labels[:9]))
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert "labels: the manifest has 9 labels, but the recipe has 10" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda m: replace(m, provenance=replace(m.provenance, mean=(0.5,))), "mean: is (0.5,), but", id="mean"
        ),
        pytest.param(
            lambda m: replace(m, preprocessing=replace(m.preprocessing, fit="stretch")), "preprocessing: is", id="fit"
        ),
    ],
)
def test_a_manifest_unlike_its_recipe_is_reported(
    change: Callable[[Manifest], Manifest], message: str, wrong_bundle: Path, evaluate: Evaluate
) -> None:
    change_manifest(wrong_bundle, change)
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert message in out


def test_a_static_batch_in_onnx_is_reported(wrong_bundle: Path, evaluate: Evaluate) -> None:
    model = onnx.load_from_string((wrong_bundle / "graph.onnx").read_bytes())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
        value.type.tensor_type.shape.dim[0].dim_value = 2
    replace_file(wrong_bundle, "graph.onnx", model.SerializeToString())
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert "graph.onnx takes input image of shape [2, 8, 8, 1], but manifest.json says ['batch', 8, 8, 1]" in out


def test_a_batch_frozen_inside_onnx_is_reported(wrong_bundle: Path, evaluate: Evaluate) -> None:
    """The declared shapes are dynamic, but a reshape inside holds the batch size of the export."""
    model = onnx.load_from_string((wrong_bundle / "graph.onnx").read_bytes())
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    shape = next(tensor for tensor in model.graph.initializer if tensor.name == reshape.input[1])
    frozen = numpy_helper.to_array(shape).copy()
    frozen[0] = 2
    shape.CopyFrom(numpy_helper.from_array(frozen, shape.name))
    replace_file(wrong_bundle, "graph.onnx", model.SerializeToString())
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert "fail, graph.onnx gives output logits of shape [2, 10], but manifest.json says" in out


class FrozenBatch(nn.Module):
    """Reshapes to the batch size that it was traced with."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, probabilities = self.module(image)
        return logits.reshape(2, 10), probabilities


def test_a_static_batch_in_torchscript_is_reported(wrong_bundle: Path, evaluate: Evaluate) -> None:
    module = FrozenBatch(rebuild(read_bundle(wrong_bundle)))
    stream = io.BytesIO()
    with pytest.warns((FutureWarning, DeprecationWarning)):  # before torch 2.14 the second
        torch.jit.save(torch.jit.trace(module, (torch.zeros(2, 8, 8, 1, dtype=torch.uint8),)), stream)
    replace_file(wrong_bundle, "graph.torchscript.pt", stream.getvalue())
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert re.search(r"graph\.torchscript\.pt on torch CPU.*: fail, it fails on held-out samples at batch size 64", out)


def test_a_graph_that_gives_nan_is_reported(wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    def spoil(module: nn.Module) -> None:
        with torch.no_grad():
            next(p for p in reversed(list(module.parameters())) if p.ndim == 1)[0] = float("nan")

    plant(wrong_bundle, "graph.onnx", spoil, tmp_path)
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert "candidate has 360 values that are NaN or infinite" in out


def test_weights_that_are_not_the_graphs_are_reported(wrong_bundle: Path, evaluate: Evaluate) -> None:
    """A stale state_dict: both graphs are right, but what they are compared with is not what they were made from."""
    state = torch.load(wrong_bundle / "state_dict.pt", weights_only=True)
    last = list(state)[-1]
    state[last] = state[last] + 0.1
    stream = io.BytesIO()
    torch.save(state, stream)
    replace_file(wrong_bundle, "state_dict.pt", stream.getvalue())
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert "golden logits: differ from what state_dict.pt gives" in out


def without_probabilities(golden: Golden) -> Golden:
    logits = {"logits"}
    eager, reference = ({name: found[name] for name in logits} for found in (golden.eager, golden.reference))
    return replace(golden, eager=eager, reference=reference)


def of_nine_classes(golden: Golden) -> Golden:
    eager, reference = (
        {name: values[:, :9] for name, values in found.items()} for found in (golden.eager, golden.reference)
    )
    return replace(golden, eager=eager, reference=reference)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            without_probabilities, "outputs logits, but manifest.json lists logits, probabilities", id="missing"
        ),
        pytest.param(of_nine_classes, "output logits as float32 [42, 9], but manifest.json says float32", id="width"),
        pytest.param(
            lambda golden: replace(golden, inputs={"pixels": golden.inputs["image"]}),
            "inputs pixels, but manifest.json lists image",
            id="input",
        ),
    ],
)
def test_golden_arrays_that_a_server_refuses_are_not_certified(
    wrong_bundle: Path, evaluate: Evaluate, change: Callable[[Golden], Golden], message: str
) -> None:
    golden = change(read_golden((wrong_bundle / "golden.npz").read_bytes()))
    replace_file(wrong_bundle, "golden.npz", encode_golden(golden))
    code, _, err = evaluate("parity", str(wrong_bundle), "--quick")
    assert code == 2
    assert f"error: golden.npz has {message}" in err
    assert "Traceback" not in err
    assert not (wrong_bundle / CERTIFICATE).exists()


def test_outputs_that_do_not_vary_prove_nothing(wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    """With a zero last layer every graph agrees with every other: that is no proof."""
    bundle = read_bundle(wrong_bundle)
    module = rebuild(bundle)
    layer = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        layer.weight.zero_()
    stream = io.BytesIO()
    torch.save(module.network.state_dict(), stream)
    replace_file(wrong_bundle, "state_dict.pt", stream.getvalue())

    def zero(module: nn.Module) -> None:
        with torch.no_grad():
            [m for m in module.modules() if isinstance(m, nn.Linear)][-1].weight.zero_()

    for graph in GRAPHS:
        plant(wrong_bundle, graph, zero, tmp_path)
    code, out, _ = evaluate("parity", str(wrong_bundle))
    assert code == 1
    assert "unproven, logits on held-out samples: it varies by 0 over 360 rows" in out


def test_the_right_bundle_passes(digits_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    code, out, _ = evaluate("parity", str(digits_bundle), "--json", str(tmp_path / "certificate.json"))
    assert code == 0
    assert "parity holds: every graph is as close to the truth as PyTorch itself" in out
    certificate = msgspec.json.decode((tmp_path / "certificate.json").read_bytes(), type=Certificate)
    onnx, script, all_of_them = "graph.onnx", "graph.torchscript.pt", certificate.setting.onnxruntime_threads
    assert [(graph.graph, graph.optimized, graph.threads) for graph in certificate.graphs] == list(
        dict.fromkeys(
            [
                (onnx, True, all_of_them),
                (onnx, False, all_of_them),
                (onnx, True, 1),
                (script, True, certificate.setting.torch_threads),
                (script, True, 1),
            ]
        )
    )
    assert {c.input_set for graph in certificate.graphs for c in graph.comparisons} == {
        "held-out samples",
        "random pixels, all 0, all 255",
        "on the decision boundary",
        "held-out samples again",
        "held-out samples at every batch size from 1 to 64",
        "among hostile neighbours",
        "inputs sought for the greatest error",
    }
    assert {c.batch_size for c in certificate.graphs[0].comparisons} == {1, 2, 7, 32, 64, 1024}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_false_alarm_over_seeds(seed: int, digits_bundle: Path, evaluate: Evaluate) -> None:
    code, _, _ = evaluate("parity", str(digits_bundle), "--seed", str(seed), "--no-certificate", "--samples", "100")
    assert code == 0


def test_a_tiny_but_real_difference_in_one_row_is_seen() -> None:
    """The maximum sees what the mean does not: one value of a million off by a hundred units in the last place."""
    from serve.parity import numeric_parity

    rng = np.random.default_rng(0)
    reference = rng.normal(size=(100_000, 10))
    eager = reference.astype(np.float32)
    wrong = eager.copy()
    wrong[7, 3] += np.float32(1e-4)
    assert numeric_parity(eager.copy(), eager=eager, reference=reference).passed
    assert not numeric_parity(wrong, eager=eager, reference=reference).passed


class FirstHundred(nn.Module):
    """Answers the first hundred rows of a batch alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Run one batch."""
        answered = torch.arange(rows.shape[0]) < 100
        return torch.where(answered[:, None], self.layer(rows), torch.zeros(()))


@pytest.mark.parametrize("graph", GRAPHS)
def test_rows_lost_in_a_batch_larger_than_a_server_forms_are_told(
    graph: str, wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    def spoil(module: nn.Module) -> None:
        place = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)][-1]
        parent, _, name = place.rpartition(".")
        setattr(module.get_submodule(parent), name, FirstHundred(module.get_submodule(place)))

    plant(wrong_bundle, graph, spoil, tmp_path)
    assert evaluate("parity", str(wrong_bundle))[0] == 1
    certificate = msgspec.json.decode((wrong_bundle / CERTIFICATE).read_bytes(), type=Certificate)
    wrong = {c.batch_size for one in certificate.graphs for c in one.comparisons if c.verdict == "fail"}
    assert wrong == {1024}
