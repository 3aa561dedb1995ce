"""`python -m train show`: every kind of every run that it fits, and what is said where it does not."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from serve.preprocess import prepare_bytes
from tests.conftest import ROOT
from train.__main__ import main
from train.curves import show_curves
from train.data import load_dataset
from train.dataset import MissingDataError
from train.device import choose_device
from train.fit import fit
from train.pictures import of_runs
from train.pictures.draw import draw
from train.pictures.kinds import KINDS, OF_RECIPES, Kind, fits
from train.pictures.picture import PictureError
from train.pictures.predict import as_answers, run_network
from train.pictures.subject import find_subject, load_model, read_data
from train.recipes.food import FOOD_LABELS
from train.recipes.registry import RECIPES
from train.run import load_network, read_run
from train.write import write_run

# one of each: images in grey and in colour, augmented or not, two classes and four, one feature and several, categories
TRAINED = {
    "digits": 2,
    "food-tinyvgg-augmented": 1,
    "circles-v2": 20,
    "blobs": 20,
    "line-linear": 20,
    "linreg": 1,
    "house-prices": 5,
}
FITTING = [(kind, name) for name in TRAINED for kind in KINDS if fits(kind, RECIPES[name])]


class Silence:
    def batch_done(self, epoch: int, totals: object, rows: int) -> None:
        pass

    def epoch_done(self, metrics: object) -> None:
        pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a few photos of each split and class: noise, some grey, some wide."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for label in FOOD_LABELS:
            folder = root / "pizza_steak_sushi" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(rng.integers(0, 256, size=(20, 40, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Callable[[str], Path]:
    """Return the path of a quickly trained run."""
    runs = tmp_path_factory.mktemp("runs")

    @cache
    def train(name: str) -> Path:
        recipe = replace(RECIPES[name], epochs=TRAINED[name])
        fitted = fit(recipe, data_root=photos, choice=choose_device("cpu"), watcher=Silence())
        assert fitted is not None
        write_run(runs / name, fitted.run, fitted.weights, fitted.history)
        return runs / name

    return train


@pytest.mark.parametrize(("kind", "name"), FITTING, ids=lambda value: str(value))
def test_every_kind_of_every_run_that_it_fits(kind: Kind, name: str, run_of: Callable[[str], Path]) -> None:
    picture = draw(kind, run_of(name))
    assert picture.png[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.text.strip()


@pytest.mark.parametrize("kind", sorted(OF_RECIPES))
def test_recipes_are_drawn_untrained(kind: Kind, photos: Path) -> None:
    assert draw(kind, "food-tinyvgg-augmented", data_root=photos).text


def test_command_writes_the_picture_and_says_it_in_words(
    run_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["show", "confusion", str(run_of("blobs"))]) == 0
    output = capsys.readouterr()
    picture = draw("confusion", run_of("blobs"))
    assert output.out == f"{picture}\n"
    assert output.err == "picture: pictures/confusion-blobs.png\n"
    assert (tmp_path / "pictures" / "confusion-blobs.png").read_bytes() == picture.png
    out = Path("deep") / "layers.PNG"
    assert main(["show", "layers", "food-tinyvgg", "--out", str(out)]) == 0
    assert "280" in capsys.readouterr().out.splitlines()[3]
    assert out.is_file()


def test_seed_decides_and_is_all_that_decides(run_of: Callable[[str], Path]) -> None:
    for kind, name in (("augmented", "food-tinyvgg-augmented"), ("probabilities", "digits")):
        first, second, other = (draw(kind, run_of(name), seed=seed) for seed in (1, 1, 3))
        assert first == second
        assert first.png != other.png


def test_drawing_leaves_the_global_generator_alone(run_of: Callable[[str], Path]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    draw("layers", "food-tinyvgg")
    draw("augmented", run_of("food-tinyvgg-augmented"))
    draw("probabilities", run_of("food-tinyvgg-augmented"))
    assert torch.equal(torch.rand(3), expected)


def test_accuracy_is_that_of_the_run(run_of: Callable[[str], Path]) -> None:
    accuracy = read_run(run_of("digits")).metrics["test_top1_accuracy"]
    assert draw("confusion", run_of("digits")).text.startswith(f"{accuracy:.2%} of 360 test rows right")
    accuracy = read_run(run_of("circles-v2")).metrics["test_top1_accuracy"]
    assert (
        f"test: {accuracy:.2%} of 200 points right, by the kept weights" in draw("boundary", run_of("circles-v2")).text
    )
    hint = "the training figures that a run prints are of each batch before its step"
    assert hint in draw("boundary", run_of("circles-v2")).text
    assert draw("confusion", run_of("circles-v2")).text.startswith(f"{accuracy:.2%} of 200 test rows right")


def test_rows_set_aside_are_not_shown_as_trained_on(tmp_path: Path) -> None:
    recipe = replace(RECIPES["blobs"], epochs=1, validation=0.25)
    fitted = fit(recipe, data_root=tmp_path, choice=choose_device("cpu"), watcher=Silence())
    assert fitted is not None
    write_run(tmp_path / "run", fitted.run, fitted.weights, fitted.history)
    assert draw("boundary", tmp_path / "run").text.startswith("train: ")
    assert "of 600 points right, by the kept weights\ntest: " in draw("boundary", tmp_path / "run").text
    assert "blobs: 600 training and 200 test rows" in draw("samples", tmp_path / "run").text


def test_curves_are_those_that_training_drew(run_of: Callable[[str], Path]) -> None:
    curves = show_curves(run_of("blobs"))
    picture = draw("curves", run_of("blobs"))
    assert (picture.png, picture.text) == (curves.png, curves.text)


def test_errors_are_all_wrong_and_predictions_are_not_sorted(run_of: Callable[[str], Path]) -> None:
    lines = draw("errors", run_of("digits")).text.splitlines()
    assert len(lines) == 10
    assert all(line.startswith("✗ Pred: ") for line in lines[1:])
    sure = [float(line.rpartition("|")[2].rstrip("%")) for line in lines[1:]]
    assert sure == sorted(sure, reverse=True)
    random = draw("predictions", run_of("digits")).text.splitlines()
    assert sum(line.startswith("✓") for line in random) == int(random[0].split()[1])


def test_a_model_without_errors_is_said_to_have_none(
    run_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = find_subject(str(run_of("digits")))
    dataset = read_data(subject)
    said = as_answers(run_network(*load_model(subject), dataset.test.inputs)).class_index
    perfect = replace(dataset, test=replace(dataset.test, targets=said))
    monkeypatch.setattr(of_runs, "read_data", lambda _: perfect)
    picture = draw("errors", run_of("digits"))
    assert picture.text == "digits: none of the 360 test images is taken for another class"
    assert picture.png


def test_own_image_is_prepared_as_serving_does(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    file = tmp_path / "wide and turned.jpg"
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, size=(30, 90, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo.save(file, exif=exif)
    path = run_of("food-tinyvgg-augmented")
    run = read_run(path)
    prepared = prepare_bytes(file.read_bytes(), run.preprocessing)
    network = load_network(path, run)
    with torch.inference_mode():
        logits = network(torch.tensor(prepared)[None].permute(0, 3, 1, 2) / 255)
    expected = torch.softmax(logits, dim=1)[0]
    text = draw("probabilities", path, image=file).text
    for label, probability in zip(FOOD_LABELS, expected.tolist(), strict=True):
        assert f"  {label} {probability:.4f}" in text
    assert "a closed set: any image gets one of these 3 classes, whatever it shows" in text
    assert "the model does not know" in text  # one epoch of noise
    assert "Truth" not in text
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((9, 9), 40000, dtype=np.uint16)).save(grey)  # 16 bits a pixel
    assert "Pred: " in draw("probabilities", path, image=grey).text
    assert "Pred: " in draw("probabilities", run_of("digits"), image=grey).text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["samples", "circle-v2"], "circle-v2 is neither a recipe nor a run directory, but one of them was "
                     "expected; did you mean circles-v2?", id="unknown"),
        pytest.param(["samples", "xyz"], "expected; see `python -m train list`", id="nothing-near"),
        pytest.param(["samples", "folder"], "folder is no run: it has no run.json; give a run directory", id="no-run"),
        pytest.param(["samples", "file"], "file is no run: it has no run.json", id="a-file"),
        pytest.param(["curves", "damaged"], "run.json is not valid: ", id="damaged-run"),
        pytest.param(["predictions", "digits"], "digits is a recipe, but predictions needs a run; give a run directory "
                     "such as runs/digits, which `python -m train run digits` makes", id="untrained"),
        pytest.param(["boundary", "digits"], "digits is a classification of images, but boundary needs classes and two "
                     "features that are numbers; what fits it: samples, augmented, layers", id="boundary-of-images"),
        pytest.param(["confusion", "linreg"], "linreg is a regression of 2 features, but confusion needs classes; what "
                     "fits it: samples, layers", id="confusion-of-values"),
        pytest.param(["fit", "circles-v2"], "circles-v2 is a classification of 2 features, but fit needs a regression",
                     id="fit-of-classes"),
        pytest.param(["errors", "line-linear"], "line-linear is a regression of 1 feature, but errors needs classes of "
                     "images", id="one-feature"),
        pytest.param(["augmented", "fashion-tinyvgg"], "fashion-tinyvgg has no augmentation, but augmented needs one; "
                     "of the recipes, digits, food-tinyvgg-augmented have one", id="not-augmented"),
        pytest.param(["layers", "digits", "--seed", "-1"], "--seed is -1, but a number from 0 to 2**63 - 1 was",
                     id="seed"),
        pytest.param(["layers", "digits", "--image", "file"], "--image was given, but layers takes none; show "
                     "probabilities, or leave it out", id="image-of-no-use"),
        pytest.param(["layers", "digits", "--out", "a.jpg"], "a.jpg does not end in .png, but pictures are PNG",
                     id="not-png"),
        pytest.param(["layers", "digits", "--out", "folder"], "folder is a directory, but a file for the picture was",
                     id="out-is-a-folder"),
        pytest.param(["layers", "digits", "--out", "file/a.png"], "cannot be written (", id="out-below-a-file"),
    ],
)  # fmt: skip
def test_trouble_is_one_sentence_and_exit_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no directory")
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{}")
    assert main(["show", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert message in output.err
    assert output.err.count("\n") == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["damaged", "file", "folder"]


def test_trouble_with_own_images(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    path = run_of("digits")
    with pytest.raises(PictureError, match=r"notes\.txt: the 8 bytes are no image in a known format"):
        draw("probabilities", path, image=text)
    with pytest.raises(PictureError, match=r"gone\.png cannot be read \(No such file or directory\); give an image"):
        draw("probabilities", path, image=tmp_path / "gone.png")
    with pytest.raises(PictureError, match=r"^/dev/zero is no regular file, but an image file was expected; give one$"):
        draw("probabilities", path, image=Path("/dev/zero"))
    with pytest.raises(PictureError, match="is no regular file, but an image file was expected"):
        draw("probabilities", path, image=tmp_path)
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(of_runs.MOST_IMAGE_BYTES + 1)
    with pytest.raises(PictureError, match=r"large\.png has more than 67,108,864 bytes, which is the most of an image"):
        draw("probabilities", path, image=large)
    with large.open("wb") as file:
        file.truncate(of_runs.MOST_IMAGE_BYTES)
    with pytest.raises(PictureError, match="the 67,108,864 bytes are no image"):
        draw("probabilities", path, image=large)
    with pytest.raises(PictureError, match="blobs takes a table, but --image gives an image; leave it out"):
        draw("probabilities", run_of("blobs"), image=text)


def test_data_that_is_not_there_is_not_downloaded_for_a_run(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="does not exist, but the photos of one class were expected there"):
        draw("samples", run_of("food-tinyvgg-augmented"), data_root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_data_than_the_run_saw_is_refused(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    record = json.loads((run_of("blobs") / "run.json").read_text(encoding="utf-8"))
    changed = tmp_path / "changed"
    changed.mkdir()
    record["data"]["sha256"] = "0" * 64
    (changed / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(PictureError, match=r"blobs has sha256 \w{12}…, but .*changed was trained on 0{12}…; give the"):
        draw("samples", changed)
    record["recipe"] = "gone"
    (changed / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(PictureError, match="changed was trained from recipe gone, which does not exist; train again"):
        draw("samples", changed)


def test_a_run_wins_over_a_recipe_of_the_same_name(
    run_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_subject("blobs").run is None
    (tmp_path / "blobs").symlink_to(run_of("blobs"))
    assert find_subject("blobs").run is not None
    (tmp_path / "digits").mkdir()
    assert find_subject("digits").run is None  # a folder that is no run hides no recipe


@pytest.mark.parametrize("arguments", [["--help"], ["layers", "nothing"], ["boundary", "digits"]], ids=" ".join)
def test_answers_without_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from train.__main__ import main\n"
        "try: main(['show', *sys.argv[1:]])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'sklearn', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)


def test_kinds_of_recipes_need_no_run() -> None:
    assert all(fits(kind, RECIPES["digits"]) for kind in OF_RECIPES)
    assert {kind for kind, name in FITTING} == set(KINDS)


def test_the_notes_nine_images(data_root: Path) -> None:
    """Source: notes 003, S10: the labels of its nine random test images."""
    test = load_dataset(RECIPES["fashion-tinyvgg"], data_root, download=False).test
    assert test.targets[of_runs.pick(len(test), of_runs.GALLERY, 42)].tolist() == [5, 1, 7, 4, 3, 0, 4, 7, 1]
