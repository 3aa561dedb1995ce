"""Predictions of the page and its pieces of HTML, without Gradio."""

import base64
import hashlib
import io
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from serve.answer import Answer, DeadlineError, ModelFaultError, NotReadyError, QueueFullError
from serve.bundle import BundleError, encode_sealed, read_bundle
from serve.classifier import Classifier
from serve.page.predict import Seen, see_drawing, see_file, see_pixels, seen_or_sentence, sentence
from serve.page.show import (
    certified,
    choose_examples,
    closed_set_html,
    details_html,
    escaped,
    examples_html,
    hint_html,
    png_url,
    title_html,
    verdict_html,
)
from serve.verdict import Verdict, read_verdicts
from tests.serve.tiny_bundle import write_tabular_bundle, write_tiny_bundle


def png(pixels: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def drawing() -> bytes:
    canvas = np.zeros((400, 400, 4), dtype=np.uint8)
    canvas[..., 3] = 255
    canvas[80:320, 190:218, :3] = 255
    return png(canvas)


def url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def seen_of(values: dict[str, float]) -> Seen:
    answer = Answer(
        outputs={},
        bundle_sha256="ab" * 32,
        provider="CPUExecutionProvider",
        precision="float32",
        batch_size=3,
        queue_ms=1.26,
        run_ms=0.04,
    )
    best = max(values, key=values.__getitem__)
    verdict = Verdict(label=best, probability=values[best], values=values)
    return Seen(pixels=np.zeros((2, 3, 1), dtype=np.uint8), verdict=verdict, answer=answer)


def test_a_file_and_a_drawing_are_predicted_from_their_very_bytes(tiny: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(drawing())
    expected = tiny.submit({"image": tiny.prepare(drawing())}).result().outputs
    for seen in (see_file(tiny, path), see_drawing(tiny, url(drawing()))):
        assert seen.verdict == read_verdicts(tiny.manifest, expected)[0]
        np.testing.assert_array_equal(seen.pixels, tiny.prepare(drawing())[0])


def test_a_large_image_is_predicted_too(tiny: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(np.full((2100, 2000), 77, dtype=np.uint8)))
    assert np.unique(see_file(tiny, path).pixels).tolist() == [77]


def test_a_drawing_may_have_a_million_pixels(tiny: Classifier) -> None:
    seen = see_drawing(tiny, url(png(np.full((1000, 1000), 77, dtype=np.uint8))))
    assert np.unique(seen.pixels).tolist() == [77]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "There is no drawing yet; draw on the black square first."),
        (
            "http://127.0.0.1:9/x.png",
            "The drawing is no PNG image, but the canvas sends one; reload the page and draw again.",
        ),
        ("/etc/passwd", "The drawing is no PNG image, but the canvas sends one; reload the page and draw again."),
        ("data:image/png;base64,%%%", "The drawing arrived damaged; reload the page and draw again."),
        ("data:image/png;base64,é", "The drawing arrived damaged; reload the page and draw again."),
        (
            url(png(np.zeros((1000, 1001), dtype=np.uint8))),
            "Image has 1001 x 1000 = 1,001,000 pixels, but at most 1,000,000 are decoded; send a smaller one.",
        ),
        ("data:image/png;base64,", "Image has 0 bytes, but an image file was expected; send the file's content."),
    ],
)
def test_a_drawing_that_is_none_gets_one_sentence(tiny: Classifier, value: object, message: str) -> None:
    assert seen_or_sentence(lambda: see_drawing(tiny, value)) == message


def test_a_text_file_and_a_missing_file_get_one_sentence(tiny: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("no image")
    found = seen_or_sentence(lambda: see_file(tiny, path))
    assert isinstance(found, str)
    assert found.startswith("The 8 bytes are no image in a known format, but one of JPEG, PNG")
    path.unlink()
    found = seen_or_sentence(lambda: see_file(tiny, path))
    assert found == "The uploaded image has been removed from the server meanwhile; upload it again."


def test_a_closed_classifier_says_that_it_is_shutting_down(tiny_path: Path) -> None:
    classifier = Classifier.open(tiny_path, provider="cpu", threads=1)
    classifier.close()
    found = seen_or_sentence(lambda: see_pixels(classifier, np.zeros((1, 8, 8, 1), dtype=np.uint8)))
    assert found == "Model tiny is shutting down and takes no new requests; ask again in a while."


def test_a_model_that_fails_its_golden_check_answers_nothing(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "wrong", name="wrong", perturbed=0.01)
    with Classifier.open(bundle, provider="cpu", threads=1) as classifier:
        found = seen_or_sentence(lambda: see_pixels(classifier, np.zeros((1, 8, 8, 1), dtype=np.uint8)))
    assert isinstance(found, str)
    assert found.startswith("Model wrong does not reproduce its golden outputs on this machine")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (QueueFullError("the queue is full", retry_after_s=3), "The server is busy; try again in 3 s."),
        (NotReadyError("model x is not ready."), "Model x is not ready."),
        (DeadlineError("the deadline passed"), "The deadline passed."),
        (ModelFaultError("the graph failed"), "The graph failed."),
        (TimeoutError(), "The model gave no answer within 60 s; try again."),
    ],
)
def test_every_expected_error_is_one_sentence(error: Exception, message: str) -> None:
    def fail() -> Seen:
        raise error

    assert sentence(error) == message
    assert seen_or_sentence(fail) == message


def test_an_unexpected_error_is_no_sentence() -> None:
    def fail() -> Seen:
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError, match="a fault of ours"):
        seen_or_sentence(fail)


@pytest.mark.parametrize(("first", "close"), [(0.5749, True), (0.5751, False), (float("nan"), True)])
def test_a_close_call_is_said(first: float, close: bool) -> None:
    text = verdict_html(seen_of({"cat": first, "dog": 1 - first}), "Image")
    assert ("Close call: dog has" in text) is close


def test_the_verdict_names_source_label_and_truth() -> None:
    text = verdict_html(seen_of({"cat": 0.98765, "dog": 0.01235}), "Drawing", "dog")
    assert '<p class="fx-source">Drawing</p>' in text
    assert "<strong>cat</strong> with probability <strong>0.9877</strong>" in text
    assert "The true label is dog, so this answer is wrong." in text
    text = verdict_html(seen_of({"cat": 0.98765, "dog": 0.01235}), "Drawing", "cat")
    assert "The true label is cat, which agrees." in text


def test_the_details_name_what_answered(tiny: Classifier) -> None:
    text = re.sub(r"<[^>]+>", " ", details_html(seen_of({"a": 1.0, "b": 0.0}), tiny, "certified"))
    assert " ".join(text.split()) == (
        "What the model saw: 3 by 2 pixels bundle tiny abababababab proof certified "
        "provider CPUExecutionProvider precision float32 batch 3 queue 1.3 ms run 0.0 ms"
    )


def test_text_cannot_become_markup_or_template(tmp_path: Path) -> None:
    label = "<script>alert(1)</script>${evil}{{evil}}`\"'"
    bundle = write_tiny_bundle(tmp_path / "evil", labels=(label, "b"))
    with Classifier.open(bundle, provider="cpu", threads=1) as classifier:
        examples = choose_examples(classifier)
        seen = see_pixels(classifier, np.zeros((1, 8, 8, 1), dtype=np.uint8))
    pieces = (
        examples_html(examples, classifier.name),
        verdict_html(seen, label, label),
        details_html(seen, classifier, label),
        closed_set_html(classifier.manifest.labels),
        title_html(classifier.manifest),
    )
    for piece in pieces:
        assert "<script" not in piece
        assert not set(piece) & set("{}$`")
    assert escaped("a&b") == "a&amp;b"


def test_examples_are_held_out_images_of_every_class_in_turn(tiny: Classifier) -> None:
    golden = tiny.golden()
    examples = choose_examples(tiny)
    assert len(examples) == 6
    held_out = [i for i, kind in enumerate(golden.kind) if kind == "held-out"]
    rows = {golden.inputs["image"][i].tobytes(): tiny.manifest.labels[golden.class_index[i]] for i in held_out}
    assert {e.pixels.tobytes(): e.label for e in examples} == rows
    order = [tiny.manifest.labels.index(example.label) for example in examples]
    assert order == sorted(order)


def test_a_picture_in_the_page_is_exact() -> None:
    for channels in (1, 3):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
        data = base64.b64decode(png_url(pixels).removeprefix("data:image/png;base64,"))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))).reshape(pixels.shape), pixels)


def test_the_closed_set_is_cut_short() -> None:
    assert "always one of these 13 labels" in closed_set_html(tuple(f"l{i}" for i in range(13)))
    assert closed_set_html(tuple(f"l{i}" for i in range(13))).endswith("l10, l11, ….</p>")
    assert closed_set_html(tuple(f"l{i}" for i in range(12))).endswith("l10, l11.</p>")


@pytest.mark.parametrize(("passed", "words"), [(True, "certified"), (False, "parity FAILED")])
def test_the_proof_is_what_the_certificate_says(tmp_path: Path, passed: bool, words: str) -> None:
    bundle = read_bundle(write_tiny_bundle(tmp_path / "b"))
    assert certified(bundle) == "not certified"

    class Certificate(msgspec.Struct):
        sha256: str
        bundle_sha256: str
        passed: bool

    path = bundle.path / "certificate.json"
    path.write_bytes(encode_sealed(Certificate("0" * 64, bundle.manifest.sha256, passed)))
    assert certified(read_bundle(bundle.path)) == words
    path.write_bytes(encode_sealed(Certificate("0" * 64, hashlib.sha256(b"other").hexdigest(), passed)))
    with pytest.raises(BundleError, match=r"certifies bundle .* but this is"):
        read_bundle(bundle.path)


def test_a_model_without_images_refuses_them(tmp_path: Path) -> None:
    with Classifier.open(write_tabular_bundle(tmp_path / "t"), provider="cpu", threads=1) as classifier:
        found = seen_or_sentence(lambda: see_drawing(classifier, url(drawing())))
    assert isinstance(found, str)
    assert found.startswith("Model tabular takes no images, but features float32")


@pytest.mark.parametrize(("drawing", "begin"), [(True, "draw, give an image"), (False, "give an image")])
def test_the_hint_speaks_of_drawing_only_where_one_can_draw(drawing: bool, begin: str) -> None:
    assert f"appears here: {begin}, or click" in hint_html(drawing=drawing)
