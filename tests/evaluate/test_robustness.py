"""Spoilt images: what is done to them, that it is done before serving's own preparation, and what it costs a graph."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluate.accuracy.corruptions import CORRUPTIONS, Corruption
from evaluate.accuracy.robustness import Subject, as_seen, measure_robustness
from evaluate.labelled import Labelled
from serve.bundle import ImagePreprocessing
from serve.preprocess import prepare_arrays, prepare_image

SQUARE = ImagePreprocessing(color="L", height=16, width=16)
SPECS = [
    pytest.param(ImagePreprocessing(color="RGB", height=24, width=32), id="stretch"),
    pytest.param(ImagePreprocessing(color="RGB", height=24, width=32, fit="crop", resize=40), id="crop"),
    pytest.param(ImagePreprocessing(color="L", height=28, width=28, fit="ink"), id="ink"),
]


def photo(mode: str, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """Return smooth shapes on a light ground."""
    width, height = size
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    bands = [200 - 150 * np.exp(-((across - shift) ** 2 + down**2) * 8) for shift in (-0.3, 0, 0.3)]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8)).convert(mode)


class ByBrightness:
    """A runner that tells bright images (class 1) from dark ones by their mean."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        means = inputs["image"].reshape(len(inputs["image"]), -1).mean(axis=1, dtype=np.float32)
        return {"logits": np.stack([127 - means, means - 127], axis=1)}


def bright_and_dark(rows: int) -> Labelled:
    rng, truth = np.random.default_rng(0), np.arange(rows) % 2
    images = np.where(truth, 160, 100)[:, None, None, None] + rng.integers(-20, 20, (rows, 16, 16, 1))
    images = images.astype(np.uint8)
    return Labelled(inputs={"image": images}, truth=truth, source=f"{rows} images")


def subject(labelled: Labelled) -> Subject:
    return Subject(graph="graph.onnx", provider="CPU", runner=ByBrightness(), decided=labelled.truth)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_an_image_as_seen_is_prepared_as_the_image_itself(spec: ImagePreprocessing, mode: str) -> None:
    for size in ((90, 70), (70, 90), (20, 12)):
        image = photo(mode, size)
        assert np.array_equal(prepare_image(as_seen(image, spec), spec), prepare_image(image, spec))


def test_an_endless_line_does_not_become_a_square() -> None:
    spec = ImagePreprocessing(color="L", height=8, width=8, fit="crop", resize=64)
    assert as_seen(photo("L", (20_000, 1)), spec).size == (8, 8)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.kind)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_greater_strength_changes_more(corruption: Corruption, mode: str) -> None:
    image = photo(mode, (256, 192))
    before = np.asarray(image, dtype=np.float64)

    def change(strength: float) -> float:
        spoilt = corruption.spoil(image, strength, np.random.default_rng(0))
        assert (spoilt.mode, spoilt.size) == (image.mode, image.size)
        return float(np.abs(np.asarray(spoilt) - before).mean())

    ways = [
        [s for s in corruption.strengths if s < corruption.clean],
        [s for s in corruption.strengths if s > corruption.clean],
    ]
    for strengths in ways:
        changes = [change(s) for s in sorted(strengths, key=lambda s: abs(s - corruption.clean))]
        assert all(one < more for one, more in zip([0.0, *changes], changes, strict=False))
    if corruption.kind != "JPEG":
        assert change(corruption.clean) == 0


def test_corners_take_the_colour_of_the_border() -> None:
    rotation = next(corruption for corruption in CORRUPTIONS if corruption.kind == "rotation")
    image = Image.new("RGB", (20, 20), (250, 240, 230))
    assert set(rotation.spoil(image, 30, np.random.default_rng(0)).get_flattened_data()) == {(250, 240, 230)}


def test_a_graph_that_goes_by_brightness_minds_brightness_alone() -> None:
    labelled = bright_and_dark(200)
    found = measure_robustness([subject(labelled)], labelled, SQUARE, batch_size=64, seed=0)
    shares = {(row.kind, row.strength): row.top1_accuracy for row in found.settings}
    assert shares.pop(("clean", 0.0)) == 1
    assert {strength: share for (kind, strength), share in shares.items() if kind == "brightness"} == {
        0.4: 0.5,
        0.7: 0.5,
        1.4: 0.5,
        2.0: 0.5,
    }
    assert {share for (kind, _), share in shares.items() if kind != "brightness"} == {1.0}
    darkest = next(row for row in found.settings if (row.kind, row.strength) == ("brightness", 0.4))
    assert (darkest.drop.lost, darkest.drop.gained, darkest.drop.drop) == (100, 0, 0.5)
    assert found.source == "200 images, as prepared for the network"


def test_the_seed_decides_and_other_rows_do_not() -> None:
    labelled = bright_and_dark(40)
    truth = labelled.truth.copy()
    truth[:10] = 1 - truth[:10]
    wrong = Labelled(inputs=labelled.inputs, truth=truth, source="40 images")

    class Keeps(ByBrightness):
        def __init__(self) -> None:
            self.seen: list[np.ndarray] = []

        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            self.seen.append(inputs["image"])
            return super().run(inputs)

    def seen(labelled: Labelled, seed: int, batch_size: int) -> np.ndarray:
        runner = Keeps()
        measure_robustness(
            [Subject(graph="g", provider="CPU", runner=runner, decided=labelled.truth)],
            labelled,
            SQUARE,
            batch_size=batch_size,
            seed=seed,
        )
        return np.concatenate(runner.seen)

    first = seen(labelled, 0, 64)
    assert np.array_equal(first, seen(wrong, 0, 7))
    assert not np.array_equal(first, seen(labelled, 1, 64))


def test_no_more_than_so_many_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluate.accuracy.robustness.MOST_ROWS", 20)
    labelled = bright_and_dark(50)
    found = measure_robustness([subject(labelled)], labelled, SQUARE, batch_size=64, seed=3)
    assert found.rows == 20
    assert found.source == "20 of 50 images, chosen by seed 3, as prepared for the network"


def test_originals_are_spoilt_before_they_are_prepared(tmp_path: Path) -> None:
    """Arrays and files of another size than the network takes give the same."""
    spec = ImagePreprocessing(color="L", height=16, width=16, fit="crop", resize=20)
    raw = np.stack([np.asarray(photo("L", (44 + shift, 44 + shift)).crop((0, 0, 44, 44))) for shift in range(6)])[
        ..., None
    ]
    files = []
    for index, pixels in enumerate(raw):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels.squeeze(-1)).save(files[-1])
    prepared = prepare_arrays(raw, spec)

    class Sums(ByBrightness):
        def __init__(self) -> None:
            self.seen: list[np.ndarray] = []

        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            self.seen.append(inputs["image"])
            return super().run(inputs)

    runners = []
    for originals in (lambda: raw, lambda: tuple(files), None):
        runners.append(Sums())
        truth = np.ones(6, dtype=np.int64)
        labelled = Labelled(inputs={"image": prepared}, truth=truth, source="6 images", originals=originals)
        one = Subject(graph="g", provider="CPU", runner=runners[-1], decided=truth)
        found = measure_robustness([one], labelled, spec, batch_size=64, seed=0)
        assert found.source == ("6 images" if originals else "6 images, as prepared for the network")
    arrays, read, cut = (np.concatenate(runner.seen) for runner in runners)
    assert np.array_equal(arrays, read)
    assert not np.array_equal(arrays, cut), "a turned photo has more in its corners than one that was cut before"
