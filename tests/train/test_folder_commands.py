"""A folder of one's own images through every command: trained, resumed, shown, compared, exported, proven, served."""

import json
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluate.accuracy.measure import measure_accuracy
from evaluate.judge import certify
from evaluate.source import dataset_of
from export.from_run import draft_of_run
from export.write import write_bundle
from serve.bundle import BundleError, read_bundle
from tests.conftest import ROOT
from tests.serving import serving
from train.__main__ import main
from train.comparison import compare_runs
from train.pictures.draw import draw
from train.run import RECORD, STATE_DICT, read_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bright and dark images, a run and a bundle of it."""
    place = tmp_path_factory.mktemp("folder")
    chance = np.random.default_rng(0)
    for index in range(40):
        file = place / "my lamps" / ("off", "on")[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = chance.integers(0, 90, (24, 30, 3)) + 160 * (index % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(file)
    assert train(place, "--epochs", "20", "--learning-rate", "0.01") == 0
    write_bundle(place / "bundle", draft_of_run(run_of(place)))
    return place


def run_of(place: Path) -> Path:
    return place / "runs" / "my-lamps-tinyvgg"


def train(place: Path, *arguments: str, out: Path | None = None) -> int:
    options = ["--out", str(out or run_of(place)), "--device", "cpu", "--size", "16"]
    return main(["folder", str(place / "my lamps"), *options, *arguments])


def test_run_records_the_folder(place: Path) -> None:
    run = read_run(run_of(place))
    assert (run.recipe, run.labels, run.data.name) == ("my-lamps-tinyvgg", ("off", "on"), "my lamps")
    assert (run.data.train_rows, run.data.test_rows) == (32, 8)
    assert (run.folder.test_share, run.folder.split_seed, run.finished) == (0.2, 0, True)


def test_resumed_training_gives_the_same_weights(place: Path, tmp_path: Path) -> None:
    assert train(place, "--epochs", "2", "--augment", "trivial-wide", out=tmp_path / "a") == 0
    assert train(place, "--epochs", "4", "--resume", out=tmp_path / "a") == 0
    assert train(place, "--epochs", "4", "--augment", "trivial-wide", out=tmp_path / "b") == 0
    weights = [(tmp_path / name / STATE_DICT).read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    assert len(compare_runs([tmp_path / "a", run_of(place)]).runs) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--resume", "--overwrite"], "--resume goes on with the run in --out, but --overwrite replaces it; give one"),
        (["--resume", "--fit", "crop"], "was trained with --fit stretch, but crop is asked for; leave it out, or"),
        (["--resume", "--split-seed", "3"], "was trained with --split-seed 0, but 3 is asked for; leave it out"),
        (["--resume", "--model", "mlp"], "was trained with --model tinyvgg, but mlp is asked for; leave it out"),
        (["--epochs", "0"], "recipe my-lamps-tinyvgg has epochs 0, but at least 1 was expected"),
        (["--model", "line"], "model line takes a table, but images are to be trained on; give one of tinyvgg"),
        ([], "holds a finished run; give --overwrite to replace it, or another --out"),
    ],
)
def test_trouble_is_one_sentence(
    arguments: list[str], sentence: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(place, *arguments) == 2
    assert sentence in capsys.readouterr().err


def test_a_run_of_something_else_is_not_gone_on_with(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "blobs", "--epochs", "1", "--device", "cpu", "--out", str(tmp_path / "blobs")]) == 0
    assert train(place, "--resume", out=tmp_path / "blobs") == 2
    assert "was trained from recipe blobs, not my-lamps-tinyvgg; give another --out" in capsys.readouterr().err


def test_a_folder_that_changed_is_not_gone_on_with(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "my lamps", tmp_path / "my lamps")
    assert train(tmp_path, "--epochs", "1") == 0
    Image.new("RGB", (20, 20)).save(tmp_path / "my lamps" / "off" / "99.png")
    assert train(tmp_path, "--resume", "--epochs", "2") == 2
    assert "was trained on" in (said := capsys.readouterr().err)
    assert "give DIR as it was then, or train again" in said


@pytest.mark.parametrize("kind", ["samples", "layers", "curves", "predictions", "confusion", "probabilities"])
def test_pictures(kind: str, place: Path, tmp_path: Path) -> None:
    assert draw(kind, str(run_of(place))).text
    assert draw(kind, str(run_of(place)), data_root=tmp_path).text  # nothing there: read where the run read it


def test_bundle_says_what_it_was_trained_on(place: Path) -> None:
    provenance = read_bundle(place / "bundle").manifest.provenance
    assert (provenance.recipe, provenance.dataset) == (None, "my lamps")
    assert provenance.dataset_sha256 == read_run(run_of(place)).data.sha256
    assert str(place) not in (place / "bundle" / "manifest.json").read_text()
    card = (place / "bundle" / "model-card.md").read_text()
    assert "- data: my lamps, sha256 " in card
    assert "trained elsewhere" not in card


def test_certificate_says_which_images_it_rests_on(place: Path, tmp_path: Path) -> None:
    bundle = read_bundle(place / "bundle")
    for root in (place, place / "my lamps"):
        certificate = certify(bundle, data_root=root, quick=True)
        assert certificate.passed
        assert certificate.setting.held_out_source == "8 test samples of my lamps"
    certificate = certify(bundle, data_root=tmp_path, quick=True)
    assert certificate.passed
    assert "the bundle's own 8, because folder my lamps as it was trained on is not here" in (
        certificate.setting.held_out_source
    )


def test_accuracy_says_which_images_it_rests_on(place: Path, tmp_path: Path) -> None:
    bundle = read_bundle(place / "bundle")
    whole = measure_accuracy(bundle, data_root=place)
    assert whole.data == "8 test samples of folder my lamps"
    assert whole.graphs[0].top1_accuracy == read_run(run_of(place)).metrics["test_top1_accuracy"]
    shutil.copytree(place / "my lamps", tmp_path / "my lamps")
    assert measure_accuracy(bundle, data_root=tmp_path).data == whole.data
    Image.new("RGB", (20, 20)).save(tmp_path / "my lamps" / "on" / "99.png")
    few = measure_accuracy(bundle, data_root=tmp_path)
    assert few.data == ("the bundle's own 8 labelled samples, because folder my lamps as it was trained on is not here")


def test_swapped_labels_are_noticed(place: Path) -> None:
    bundle = read_bundle(place / "bundle")
    wrong = replace(bundle, manifest=replace(bundle.manifest, labels=("on", "off")))
    with pytest.raises(
        BundleError, match=r"has the labels on, off, but it was trained on a folder, whose classes go by"
    ):
        dataset_of(wrong, place)


def test_served_answers_carry_the_folders_labels(place: Path) -> None:
    image = (place / "my lamps" / "on" / "1.png").read_bytes()
    with (
        serving(str(place / "bundle"), "--no-page") as served,
        urllib.request.urlopen(f"{served.url}/predict/my-lamps-tinyvgg", data=image) as response,
    ):
        answer = json.load(response)
    assert answer["label"] == "on"


def test_an_export_without_the_folder_is_one_sentence(place: Path, tmp_path: Path) -> None:
    shutil.copytree(run_of(place), tmp_path / "run")
    record = tmp_path / "run" / RECORD
    record.write_text(record.read_text().replace(str(place), "gone"))
    command = [sys.executable, "-m", "export", str(tmp_path / "run"), "--data-root", "nowhere"]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "my lamps does not exist, but the folder of images was expected there; give the --data-root" in result.stderr


def test_help_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from train.__main__ import main\n"
        "try: print(main(['folder', *sys.argv[1:]]))\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'sklearn', 'matplotlib'} & sys.modules.keys()"
    )
    for arguments in (["--help"], [str(tmp_path)]):
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)
