"""A bundle opened for serving: what it proves before it is ready, and what it refuses before it queues."""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
import pytest
from PIL import Image

from serve import large_images, readiness
from serve.answer import ModelFaultError, NotReadyError, RequestError, TooLargeError
from serve.batch_rows import read_image
from serve.bundle import (
    BundleError,
    CertificateHead,
    Coarse,
    ImagePreprocessing,
    TensorSpec,
    encode_sealed,
    read_bundle,
    seal,
)
from serve.classifier import Classifier
from serve.devices import ProviderError, choose_provider, cuda_fault, usable_cpus
from serve.onnx_runner import OnnxRunner
from serve.page.predict import see_file
from serve.preprocess import ImageError, ImageTooLargeError
from serve.verdict import read_verdicts
from tests.serve.tiny_bundle import LABELS, write_lookup_bundle, write_tabular_bundle, write_tiny_bundle


def test_it_is_ready_when_the_golden_inputs_hold(tiny: Classifier) -> None:
    assert tiny.ready
    assert tiny.reason is None
    assert {(check.output, check.batch_size) for check in tiny.checks} == {
        (output, size) for output in ("logits", "probabilities") for size in (1, 64)
    }
    assert (tiny.name, tiny.provider, tiny.precision) == ("tiny", "CPUExecutionProvider", "float32")
    assert tiny.provider_reason == "asked for"


@pytest.mark.parametrize(("perturbed", "ready"), [(0.0, True), (1e-3, False)])
def test_one_perturbed_weight_keeps_it_from_being_ready(tmp_path: Path, perturbed: float, ready: bool) -> None:
    with Classifier.open(write_tiny_bundle(tmp_path / "b", perturbed=perturbed), provider="cpu") as classifier:
        assert classifier.ready is ready
        if not ready:
            assert classifier.reason is not None
            assert "model tiny does not reproduce its golden outputs on this machine with CPU" in classifier.reason
            remedy = f"; certify it with `python -m evaluate parity {tmp_path / 'b'}`, which can tell coarse rounding"
            assert remedy in classifier.reason
            with pytest.raises(NotReadyError, match="does not reproduce its golden outputs"):
                classifier.submit(classifier.golden().inputs)


@pytest.mark.parametrize(
    ("changes", "ready"),
    [
        ({}, True),
        ({"slack": 1.0}, False),
        ({"slack": 1.5}, False),
        ({"output": "logits"}, False),
        ({"provider": "CUDAExecutionProvider"}, False),
        ({"graph": "graph.int8.onnx"}, False),
        ({"onnxruntime": "1.0"}, False),
    ],
)
def test_a_certificate_that_found_this_very_runtime_coarse_widens_the_bounds(
    tmp_path: Path, changes: dict[str, Any], ready: bool
) -> None:
    path = write_tiny_bundle(tmp_path / "b", perturbed=1e-5)  # 4.1 times the bounds
    bundle_sha256 = read_bundle(path).manifest.sha256
    known = {"graph": "graph.onnx", "provider": "CPUExecutionProvider", "onnxruntime": ort.__version__}
    coarse = tuple(
        Coarse(**{**known, "output": output, "slack": 4.0, **changes}) for output in ("logits", "probabilities")
    )
    head = CertificateHead(sha256="0" * 64, bundle_sha256=bundle_sha256, passed=True, coarse=coarse)
    (path / "certificate.json").write_bytes(encode_sealed(head))
    with Classifier.open(path, provider="cpu") as classifier:
        assert classifier.ready is ready
        assert ready or "; use another provider" in (classifier.reason or "")


def test_golden_inputs_that_take_too_long_are_no_start(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "START_LIMIT_S", 0.0)
    with Classifier.open(tiny_path, provider="cpu") as classifier:
        assert classifier.checks == ()
        assert classifier.reason == (
            "model tiny fails on its golden inputs on CPUExecutionProvider (its runs did not end within 0 s); "
            "export the bundle again"
        )


def test_answers_are_the_eager_ones(tiny: Classifier) -> None:
    golden = tiny.golden()
    answer = tiny.submit(golden.inputs).result(20)
    np.testing.assert_allclose(answer.outputs["logits"], golden.reference["logits"], atol=1e-5)
    assert answer.bundle_sha256 == tiny.manifest.sha256
    assert answer.batch_size == 12


def images(*shape: int, dtype: Any = np.uint8) -> dict[str, Any]:
    return {"image": np.zeros(shape, dtype=dtype)}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param({}, r"inputs are none, but model tiny takes image uint8 \[batch, 8, 8, 1\]", id="none"),
        pytest.param({"x": np.zeros(1)}, "inputs are x, but model tiny takes image", id="name"),
        pytest.param(
            images(1, 8, 8, 1, dtype=np.float32), "input image has dtype float32, but model tiny takes uint8", id="f4"
        ),
        pytest.param(
            images(1, 8, 8, 1, dtype=">u2"), "input image has dtype >u2, but model tiny takes uint8", id="endian"
        ),
        pytest.param(
            images(8, 8, 1), r"input image has shape \[8, 8, 1\], but model tiny takes \[batch, 8, 8, 1\]", id="rank"
        ),
        pytest.param(images(1, 8, 9, 1), r"input image has shape \[1, 8, 9, 1\], but model tiny takes", id="width"),
        pytest.param(images(0, 8, 8, 1), r"input image has shape \[0, 8, 8, 1\], but model tiny takes", id="no-rows"),
    ],
)
def test_bad_inputs_are_refused_before_they_are_queued(tiny: Classifier, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        tiny.submit(inputs)
    assert not tiny.batcher.batch_sizes


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan")])
def test_deadlines_lie_ahead(tiny: Classifier, deadline_s: float) -> None:
    with pytest.raises(RequestError, match=r"deadline is .* s, but must be above 0; give none, or a later one"):
        tiny.submit(images(1, 8, 8, 1), deadline_s=deadline_s)


def test_the_cap_on_rows_from_both_sides(tiny: Classifier) -> None:
    assert len(tiny.submit(images(1024, 8, 8, 1)).result(20).outputs["logits"]) == 1024
    with pytest.raises(TooLargeError, match="the request has 1025 rows, but at most 1024 are taken at once; split it"):
        tiny.submit(images(1025, 8, 8, 1))


def test_a_valid_request_that_the_graph_cannot_run_fails_alone(tmp_path: Path) -> None:
    with Classifier.open(write_lookup_bundle(tmp_path / "b"), provider="cpu") as classifier:
        good, bad = np.array([[4], [0]]), np.array([[5]])
        futures = [classifier.submit({"index": index}) for index in (good, bad, good)]
        for future in (futures[0], futures[2]):
            assert future.result(20).outputs["prediction"].tolist() == [[9, 10], [1, 2]]
        with pytest.raises(
            ModelFaultError, match=r"the graph failed on this request: .*indices element out of data bounds"
        ):
            futures[1].result(20)


def test_images_are_prepared(tiny: Classifier) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (20, 30), (255, 255, 255)).save(stream, "PNG")
    prepared = tiny.prepare(stream.getvalue())
    assert (prepared.shape, prepared.dtype, prepared.min()) == ((1, 8, 8, 1), np.uint8, 255)
    with pytest.raises(ImageError, match="image has 0 bytes"):
        tiny.prepare(b"")
    with pytest.raises(ImageTooLargeError, match="600 pixels, but at most 599"):
        tiny.prepare(stream.getvalue(), max_pixels=599)


def test_only_large_images_wait_for_each_other(
    tiny: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[tuple[int, bool]] = []
    prepare_bytes = large_images.prepare_bytes

    def watched(data: bytes, spec: ImagePreprocessing, *, max_pixels: int) -> np.ndarray:
        prepared = prepare_bytes(data, spec, max_pixels=max_pixels)
        decoded.append((max_pixels, large_images._LARGE.locked()))
        return prepared

    monkeypatch.setattr(large_images, "prepare_bytes", watched)
    ways: list[Callable[[Path], object]] = [
        lambda path: tiny.prepare(path.read_bytes()),
        lambda path: see_file(tiny, path),
        lambda path: read_image(tiny, path),
    ]
    for width, height, expected in (
        (2000, 2000, [(4_000_000, False), (4_000_000, False), (16_000_000, False)]),
        (2001, 2000, [(64_000_000, True), (64_000_000, True), (16_000_000, False)]),
        (4001, 4000, [(64_000_000, True)] * 3),
    ):
        path = tmp_path / f"{width}.png"
        Image.new("1", (width, height)).save(path)
        decoded.clear()
        for way in ways:
            way(path)
        assert decoded == expected
    assert not large_images._LARGE.locked()


def test_a_model_of_numbers_takes_no_images(tmp_path: Path) -> None:
    with Classifier.open(write_tabular_bundle(tmp_path / "b"), provider="cpu") as classifier:
        message = r"model tabular takes no images, but features float32 \[batch, 3\]; send tensors to /v2/models"
        with pytest.raises(RequestError, match=message):
            classifier.prepare(b"x")
        outputs = classifier.submit({"features": np.eye(3, dtype=np.float32)}).result(20).outputs
        verdicts = read_verdicts(classifier.manifest, outputs)
        assert verdicts[1].values == {"0": 0.25, "1": 3.0}
        assert verdicts[1].label is None


def test_verdicts_name_the_most_probable_label(tiny: Classifier) -> None:
    golden = tiny.golden()
    verdicts = read_verdicts(tiny.manifest, tiny.submit(golden.inputs).result(20).outputs)
    expected = golden.reference["probabilities"]
    assert [verdict.label for verdict in verdicts] == [LABELS[index] for index in expected.argmax(axis=1)]
    assert verdicts[0].probability == pytest.approx(expected[0].max())
    assert list(verdicts[0].values) == list(LABELS)


def test_verdicts_of_two_classes_and_of_labels_that_occur_twice(tiny: Classifier) -> None:
    binary = dataclasses.replace(tiny.manifest, task="binary-classification", labels=("no", "yes"))
    outputs = {"probabilities": np.array([[0.75], [0.25]], dtype=np.float32)}
    assert [verdict.label for verdict in read_verdicts(binary, outputs)] == ["yes", "no"]
    assert read_verdicts(binary, outputs)[0].values == {"no": 0.25, "yes": 0.75}
    tie = {"probabilities": np.array([[0.5], [np.nextafter(np.float32(0.5), np.float32(0))]], dtype=np.float32)}
    assert [verdict.label for verdict in read_verdicts(binary, tie)] == ["yes", "no"]
    equal = dataclasses.replace(tiny.manifest, labels=("a", "b", "c", "d"))
    assert read_verdicts(equal, {"probabilities": np.full((1, 4), 0.25, dtype=np.float32)})[0].label == "a"
    twice = dataclasses.replace(tiny.manifest, labels=("crane", "dog", "crane", "eel"))
    (verdict,) = read_verdicts(twice, {"probabilities": np.array([[0.1, 0.2, 0.6, 0.1]], dtype=np.float64)})
    assert verdict.values == {"crane (0)": 0.1, "dog": 0.2, "crane (2)": 0.6, "eel": 0.1}


def test_closed_it_answers_no_more(tiny: Classifier) -> None:
    waiting = tiny.submit(images(1, 8, 8, 1))
    tiny.close()
    assert waiting.result(0)
    assert not tiny.ready
    with pytest.raises(
        NotReadyError, match="model tiny is shutting down and takes no new requests; ask again in a while"
    ):
        tiny.submit(images(1, 8, 8, 1))


def rewrite(
    bundle: Path, name: str | None, content: bytes, change: Callable[[dict[str, Any]], object] = lambda _: None
) -> None:
    """Put another content into a file, and seal a manifest that speaks of it."""
    document = json.loads((bundle / "manifest.json").read_bytes())
    document["sha256"] = "0" * 64
    for entry in document["files"]:
        if entry["path"] == name:
            (bundle / name).write_bytes(content)
            entry.update(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    change(document)
    (bundle / "manifest.json").write_bytes(seal(json.dumps(document, indent=2).encode()))


@pytest.mark.parametrize(
    ("name", "content", "change", "message"),
    [
        pytest.param(
            "graph.onnx",
            b"no graph",
            lambda _: None,
            r"graph\.onnx cannot be run by ONNX Runtime .*; export it again",
            id="graph",
        ),
        pytest.param("graph.onnx", b"", lambda _: None, r"graph\.onnx cannot be run by ONNX Runtime", id="empty"),
        pytest.param(
            None,
            b"",
            lambda m: m["files"].pop(0),
            "has no float32 ONNX graph, and cannot be served without",
            id="no-graph",
        ),
        pytest.param(
            None, b"", lambda m: m["files"].pop(1), "has no golden inputs, and cannot be served", id="no-golden"
        ),
        pytest.param("golden.npz", b"x", lambda _: None, r"golden\.npz cannot be read", id="golden"),
    ],
)
def test_a_bundle_that_cannot_be_served(
    tmp_path: Path, name: str | None, content: bytes, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    rewrite(bundle, name, content, change)
    with pytest.raises(BundleError, match=message) as caught:
        Classifier.open(bundle, provider="cpu")
    assert "\n" not in str(caught.value)


IMAGE = TensorSpec(name="image", dtype="uint8", shape=("batch", 8, 8, 1))
LOGITS = TensorSpec(name="logits", dtype="float32", shape=("batch", 4))


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((), (LOGITS,), "g takes inputs image, but manifest.json lists ; export"),
        ((dataclasses.replace(IMAGE, name="x"),), (LOGITS,), "g takes input image, but manifest.json lists x; export"),
        (
            (dataclasses.replace(IMAGE, dtype="float32"),),
            (LOGITS,),
            "g takes input image as uint8, but manifest.json says fl",
        ),
        (
            (dataclasses.replace(IMAGE, shape=("batch", 9, 8, 1)),),
            (LOGITS,),
            r"g takes input image of shape \['batch', 8, 8, 1\], but manifest.json says \['batch', 9, 8, 1\]; export",
        ),
        (
            (IMAGE,),
            (dataclasses.replace(LOGITS, name="y"),),
            "g gives output logits, probabilities, but manifest.json lists y",
        ),
    ],
)
def test_a_graph_that_differs_from_its_manifest(
    tiny_path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], message: str
) -> None:
    graph = (tiny_path / "graph.onnx").read_bytes()
    with pytest.raises(BundleError, match=message):
        OnnxRunner(graph, name="g", inputs=inputs, outputs=outputs, provider="CPUExecutionProvider")


def test_a_graph_with_a_fixed_batch_is_refused(tiny_path: Path) -> None:
    import onnx

    model = onnx.load(tiny_path / "graph.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(
        BundleError, match=r"g takes input image of shape \[1, 8, 8, 1\], but manifest.json says \['batch', 8"
    ):
        OnnxRunner(
            model.SerializeToString(),
            name="g",
            inputs=(IMAGE,),
            outputs=(LOGITS,),
            provider="CPUExecutionProvider",
            threads=1,
        )


def test_providers_are_what_was_asked_for() -> None:
    assert choose_provider("cpu") == ("CPUExecutionProvider", "asked for")
    fault = cuda_fault()
    if fault is None:
        pytest.skip("this machine has an NVIDIA device, and the refusal is for those without")
    assert choose_provider("auto") == ("CPUExecutionProvider", fault)
    with pytest.raises(
        ProviderError, match=r"provider is cuda, but .*NVIDIA.*; install the driver, or use --provider cpu"
    ):
        choose_provider("cuda")


def test_a_silent_fallback_is_an_error(tiny_path: Path) -> None:
    if cuda_fault() is None:
        pytest.skip("this machine has an NVIDIA device, so that CUDA does not fall back")
    graph = (tiny_path / "graph.onnx").read_bytes()
    with pytest.raises(
        ProviderError, match=r"g (runs on CPUExecutionProvider, but CUDA|cannot be run on CUDAExecutionProvider)"
    ):
        OnnxRunner(graph, name="g", inputs=(IMAGE,), outputs=(LOGITS,), provider="CUDAExecutionProvider")


def test_there_is_a_cpu() -> None:
    assert usable_cpus() >= 1
