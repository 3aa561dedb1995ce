"""Serving float16 and int8 graphs, models of tensors, and images that are cropped."""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image
from starlette.testclient import TestClient

from serve.__main__ import main as serve
from serve.announce import describe, require_certified
from serve.batch import main as predict_batch
from serve.bundle import (
    BundleError,
    CertificateHead,
    FileEntry,
    ImagePreprocessing,
    Manifest,
    Precision,
    TensorSpec,
    encode_sealed,
    read_bundle,
)
from serve.classifier import Classifier
from serve.drift import judge_drift, output_drift
from serve.golden import Golden
from serve.http import create_app
from serve.page.show import tensors_html
from serve.preprocess import prepare_bytes
from tests.serve.tiny_bundle import HOUSE, write_bundle, write_tiny_bundle

STEP = 0.01


def reseal(bundle: Path, change: Callable[[Manifest], Manifest]) -> None:
    path = bundle / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    path.write_bytes(encode_sealed(replace(change(manifest), sha256="0" * 64)))


def add_graph(bundle: Path, precision: Precision, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Path:
    """Write a further graph whose weights are those of graph.onnx, changed, and list it under a precision."""
    model = onnx.load_from_string((bundle / "graph.onnx").read_bytes())
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "weight")
    values = change(numpy_helper.to_array(weight)).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(values, "weight"))
    content = model.SerializeToString()
    name = f"graph.{precision}.onnx"
    (bundle / name).write_bytes(content)
    entry = FileEntry(
        path=name,
        format="onnx",
        precision=precision,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    reseal(bundle, lambda manifest: replace(manifest, files=(*manifest.files, entry)))
    return bundle


def rounded(weight: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.rint(weight / STEP) * STEP)


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def reduced(tmp_path: Path) -> Path:
    """Path of a tiny bundle with an int8 and a float16 graph beside the float32 one."""
    bundle = add_graph(write_tiny_bundle(tmp_path / "tiny"), "int8", rounded)
    return add_graph(bundle, "float16", lambda weight: weight.astype(np.float16))


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_the_graph_of_that_precision_runs_and_answers_say_so(precision: Precision, reduced: Path) -> None:
    with (
        Classifier.open(reduced, provider="cpu", precision=precision, threads=1) as classifier,
        TestClient(create_app({"tiny": classifier})) as client,
    ):
        assert classifier.ready
        answer = client.post("/predict/tiny", content=png(8, 8)).json()
        assert answer["provenance"]["precision"] == precision
        assert client.get("/v2/models/tiny").json()["parameters"]["precision"] == precision
        said = describe(classifier)
        assert f"CPUExecutionProvider, {precision} (" in said
        assert ("computed in float32 between casts" in said) == (precision == "float16")
        assert ("drift at most" in said) == (precision != "float32")


def test_reduced_graphs_differ_from_float32(reduced: Path) -> None:
    image = {"image": np.full((1, 8, 8, 1), 77, np.uint8)}
    logits = []
    for precision in ("float32", "int8"):
        with Classifier.open(reduced, provider="cpu", precision=precision, threads=1) as classifier:
            logits.append(classifier.submit(image).result().outputs["logits"])
    assert not np.array_equal(*logits)


def test_an_int8_graph_that_drifts_is_not_ready_and_says_why(tmp_path: Path) -> None:
    bundle = add_graph(write_tiny_bundle(tmp_path / "tiny"), "int8", lambda weight: -weight)
    with Classifier.open(bundle, provider="cpu", precision="int8", threads=1) as classifier:
        assert not classifier.ready
        assert "does not reproduce its golden outputs on this machine" in (classifier.reason or "")
        assert "flips in " in (classifier.reason or "")
    with Classifier.open(bundle, provider="cpu", threads=1) as classifier:
        assert classifier.ready, "the float32 graph is as right as before"


def test_a_precision_that_is_not_there_is_one_sentence(
    reduced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = write_tiny_bundle(tmp_path / "plain")
    with pytest.raises(BundleError, match=r"has no int8 ONNX graph, but float32; give --precision float32, or export"):
        Classifier.open(plain, provider="cpu", precision="int8")
    assert serve([str(plain), "--port", "0", "--provider", "cpu", "--precision", "int8"]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_failure_of_int8_does_not_stop_float32(reduced: Path) -> None:
    head = CertificateHead(
        sha256="0" * 64,
        bundle_sha256=read_bundle(reduced).manifest.sha256,
        passed=False,
        precisions={"float32": "pass", "int8": "fail", "float16": "unproven"},
    )
    (reduced / "certificate.json").write_bytes(encode_sealed(head))
    bundle = read_bundle(reduced)
    require_certified(bundle)
    with pytest.raises(BundleError, match=r"certificate that says nothing was proven in float16, as the inputs could"):
        require_certified(bundle, "float16")
    with pytest.raises(BundleError, match=r"certificate that says parity failed in int8, so this is not the model"):
        require_certified(bundle, "int8")


def test_a_certificate_of_another_precision_says_that_this_one_is_not_judged(reduced: Path) -> None:
    head = CertificateHead(
        sha256="0" * 64,
        bundle_sha256=read_bundle(reduced).manifest.sha256,
        passed=True,
        precisions={"int8": "pass"},
    )
    (reduced / "certificate.json").write_bytes(encode_sealed(head))
    require_certified(read_bundle(reduced))
    with Classifier.open(reduced, provider="cpu", threads=1) as classifier:
        assert "certificate  of other graphs, so not certified; judge this one with" in describe(classifier)


def test_batch_predicts_with_the_precision_asked_for(
    reduced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "image.png").write_bytes(png(8, 8))
    arguments = [str(reduced), str(tmp_path / "image.png"), "--out", str(tmp_path / "out.csv"), "--provider", "cpu"]
    assert predict_batch([*arguments, "--json", "--precision", "int8"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "int8"


@pytest.mark.parametrize(
    ("error", "passed"),
    [
        pytest.param(0.316, True, id="10 dB"),
        pytest.param(0.317, False, id="below"),
        pytest.param(np.nan, False, id="NaN"),
    ],
)
def test_both_sides_of_the_bound_on_the_error(error: float, passed: bool) -> None:
    reference = np.tile([[1.0, -1.0], [-1.0, 1.0]], (50, 1))
    drift = judge_drift(
        "logits",
        reference + error * np.tile([[1.0], [1.0], [-1.0], [-1.0]], (25, 1)),
        eager=reference.astype(np.float32),
        reference=reference,
        held_out=np.ones(100, bool),
        decisive=True,
        precision="int8",
    )
    assert drift.passed == passed


@pytest.mark.parametrize(("flips", "passed"), [(10, True), (11, False)])
def test_both_sides_of_the_bound_on_flips(flips: int, passed: bool) -> None:
    reference = np.tile([[30.0], [-30.0]], (50, 1))
    reference[:20] = 0.001  # flips here cost next to no error
    candidate = reference.copy()
    candidate[:flips] = -0.001
    drift = judge_drift(
        "logits",
        candidate,
        eager=reference.astype(np.float32),
        reference=reference,
        held_out=np.ones(100, bool),
        decisive=True,
        precision="int8",
    )
    assert (drift.flips, drift.passed) == (flips, passed)
    assert drift.sentence.endswith(f"and {flips} flips in 100 decisions, but at least 10 dB and at most 10 expected")


def test_an_exact_output_has_a_finite_ratio_and_integers_are_right_or_wrong() -> None:
    reference = np.arange(10.0)[:, None]
    assert output_drift(reference, reference=reference).sqnr_db == 200
    integers = np.arange(100)[:, None]
    wrong = integers.copy()
    wrong[0] += 7
    assert output_drift(wrong, reference=integers).sqnr_db == pytest.approx(20)


def write_tensors_bundle(path: Path, *, image: bool = False, table: bool = False) -> Path:
    """Write a model of two tensors: twice its input, and its sum; takes a signal, an image or a `HOUSE` table."""
    rng = np.random.default_rng(0)
    preprocessing = ImagePreprocessing(color="L", height=4, width=3) if image else None
    shape = (4, 3, 1) if image else (3,) if table else (2, 3)
    name, dtype = ("image", np.uint8) if image else ("features" if table else "signal", np.float32)
    values = rng.integers(0, 99, (6, *shape)).astype(dtype)
    twice, total = values.astype(np.float64) * 2, values.reshape(6, -1).astype(np.float64).sum(axis=1, keepdims=True)
    return write_bundle(
        path,
        name="tensors",
        task="tensors",
        labels=(),
        inputs=(TensorSpec(name=name, dtype="uint8" if image else "float32", shape=("batch", *shape)),),
        outputs=(
            TensorSpec(name="twice", dtype="float32", shape=("batch", *shape)),
            TensorSpec(name="total", dtype="float32", shape=("batch", 1)),
        ),
        preprocessing=preprocessing,
        nodes=[
            helper.make_node("Cast", [name], ["float"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", ["float", "two"], ["twice"]),
            helper.make_node("Reshape", ["float", "flat"], ["row"]),
            helper.make_node("ReduceSum", ["row", "axis"], ["total"], keepdims=1),
        ],
        constants={"two": np.float32(2), "flat": np.array([0, int(np.prod(shape))]), "axis": np.array([1])},
        golden=Golden(
            inputs={name: values},
            reference={"twice": twice, "total": total},
            eager={"twice": twice.astype(np.float32), "total": total.astype(np.float32)},
            class_index=np.full(6, -1),
            kind=np.array(["held-out"] * 6),
        ),
        features=HOUSE if table else (),
    )


def test_tensors_are_served_by_the_protocol(tmp_path: Path) -> None:
    with (
        Classifier.open(write_tensors_bundle(tmp_path / "tensors"), provider="cpu", threads=1) as classifier,
        TestClient(create_app({"tensors": classifier})) as client,
    ):
        assert classifier.ready
        signal = {"name": "signal", "datatype": "FP32", "shape": [1, 2, 3], "data": [1, 2, 3, 4, 5, 6]}
        outputs = client.post("/v2/models/tensors/infer", json={"inputs": [signal]}).json()["outputs"]
        assert {output["name"]: output["data"] for output in outputs} == {"twice": [2, 4, 6, 8, 10, 12], "total": [21]}


@pytest.mark.parametrize("kind", ["image", "table", "signal"])
def test_tensors_have_no_verdict_and_every_place_says_so(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tensors_bundle(tmp_path / "tensors", image=kind == "image", table=kind == "table")
    sentence = (
        "model tensors gives tensors (twice, total) and no labels or values with names; "
        "send its inputs to /v2/models/tensors/infer"
    )
    with (
        Classifier.open(bundle, provider="cpu", threads=1) as classifier,
        TestClient(create_app({"tensors": classifier})) as client,
    ):
        response = client.post("/predict/tensors", content=png(8, 8))
        assert response.status_code == 400
        assert response.json() == {"error": sentence}
        assert sentence[1:] in tensors_html(classifier.manifest)
    (tmp_path / "image.png").write_bytes(png(8, 8))
    (tmp_path / "table.csv").write_text("rooms,alley,area\n1,Pave,2\n", encoding="utf-8")
    source = tmp_path / ("table.csv" if kind == "table" else "image.png")
    arguments = [str(bundle), str(source), "--out", str(tmp_path / "out.csv"), "--provider", "cpu"]
    assert predict_batch(arguments) == 2
    assert capsys.readouterr().err.endswith(f"error: bundle {bundle} cannot fill a table: {sentence}\n")


def test_images_that_are_cropped_are_predicted_over_http_and_in_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    crop = ImagePreprocessing(color="L", height=8, width=8, fit="crop", resize=10)
    reseal(bundle, lambda manifest: replace(manifest, preprocessing=crop))
    data = png(40, 24)
    with (
        Classifier.open(bundle, provider="cpu", threads=1) as classifier,
        TestClient(create_app({"tiny": classifier})) as client,
    ):
        pixels = prepare_bytes(data, crop)
        expected = classifier.submit({"image": pixels[None]}).result().outputs["probabilities"][0]
        found = client.post("/predict/tiny", content=data).json()["probabilities"]
        assert list(found.values()) == pytest.approx(expected.tolist())
    (tmp_path / "image.png").write_bytes(data)
    out = tmp_path / "out.csv"
    assert predict_batch([str(bundle), str(tmp_path / "image.png"), "--out", str(out), "--provider", "cpu"]) == 0
    (row,) = csv.DictReader(out.read_text(encoding="utf-8").splitlines())
    assert float(row["probability"]) == pytest.approx(max(expected))
