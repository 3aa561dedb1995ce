"""Batch prediction: sources, rows, resuming, the table, and the command."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from serve import batch_job, batch_parts, batch_progress, batch_rows, batch_source
from serve.answer import ModelFaultError
from serve.batch import main
from serve.batch_output import OutputError
from serve.batch_parts import schema_of
from serve.batch_rows import predict_files, read_image
from serve.batch_source import SourceError, digest_files, list_files, shown
from serve.bundle import CertificateHead, encode_sealed, read_bundle
from serve.classifier import Classifier
from serve.verdict import read_verdicts
from tests.serve.tiny_bundle import LABELS, write_tabular_bundle, write_tiny_bundle

COLUMNS = ["path", "label", "probability", *(f"probability_{label}" for label in LABELS), "error"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 23 images, some in folders, of which two cannot be read; and files that are no images."""
    folder = tmp_path / "photos"
    rng = np.random.default_rng(5)
    for index in range(20):
        path = folder / ("inner" if index % 3 else "") / f"{index:02d}.{'png' if index % 2 else 'JPG'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(path)
    Image.fromarray(rng.integers(0, 65536, (9, 12), dtype=np.uint16)).save(folder / "deep.tiff")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.webp").write_text("no image")
    (folder / "notes.txt").write_text("no image either")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").write_bytes(b"")
    return folder


def run(bundle: Path, source: object, out: Path, *more: str) -> int:
    return main([str(bundle), str(source), "--out", str(out), "--provider", "cpu", *more])


def table_of(path: Path) -> list[dict]:
    return pyarrow.parquet.read_table(path).to_pylist()


def test_a_folder_gives_its_images_in_order(photos: Path) -> None:
    (photos / "loop").symlink_to(photos, target_is_directory=True)
    (photos / "zlink.png").symlink_to(photos / "deep.tiff")
    (photos / "folder.png").mkdir()
    files = list_files(str(photos))
    names = [str(path.relative_to(photos)) for path in files]
    assert len(files) == 24
    assert files == sorted(files)
    assert "zlink.png" in names
    assert not any(name.startswith((".", "loop", "notes", "folder.png")) for name in names)


def test_a_pattern_gives_every_file_it_matches(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [p.name for p in list_files(f"{photos}/*.t*")] == ["deep.tiff", "notes.txt"]
    assert len(list_files(f"{photos}/**/*.png")) == 11
    monkeypatch.chdir(photos)
    assert [str(p) for p in list_files("inner/0[12].*")] == ["inner/01.png", "inner/02.JPG"]
    with pytest.raises(SourceError, match=r"pattern absent/\*\.png matches no file; check it, and put it in quotes"):
        list_files("absent/*.png")
    assert [p.name for p in list_files(f"{photos}/.c*/*.png")] == ["x.png"]
    monkeypatch.setattr(Path, "glob", refuse_pattern)
    with pytest.raises(SourceError, match=r"pattern \*\*x is not valid \(odd\); write \*\* as a whole path part"):
        list_files("**x")


def refuse_pattern(self: Path, pattern: str) -> None:
    """Do what Python 3.11 and 3.12 do with such a pattern, and 3.13 does not."""
    raise ValueError("odd")


def test_a_list_keeps_order_and_repetitions(tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_bytes("\ufeffb.png\r\n\n a b.png\nb.png\n# c.png".encode())
    assert [str(p) for p in list_files(str(listing))] == ["b.png", " a b.png", "b.png", "# c.png"]
    listing.write_text("\n\n")
    with pytest.raises(SourceError, match=r"list .*list.txt names no files, but one path per line was expected"):
        list_files(str(listing))
    for content in (b"\xff\xfe\x00", b"a\0b"):
        listing.write_bytes(content)
        with pytest.raises(
            SourceError, match="is no known image and no text, but an image or a list of paths in UTF-8"
        ):
            list_files(str(listing))


def test_one_image_and_nothing(tmp_path: Path) -> None:
    image = tmp_path / "a.PNG"
    image.write_bytes(b"")
    assert list_files(str(image)) == [image]
    with pytest.raises(SourceError, match=r"does not exist, but a folder, a pattern in quotes, a list or an image"):
        list_files(str(tmp_path / "absent"))
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match=r"none holds no image files, but files with one of \.avif, .* were expected"):
        list_files(str(tmp_path / "none"))


def test_a_list_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("a.png")
    monkeypatch.setattr(batch_source, "_LIST_BYTES", 5)
    assert list_files(str(listing)) == [Path("a.png")]
    monkeypatch.setattr(batch_source, "_LIST_BYTES", 4)
    with pytest.raises(SourceError, match="has 5 bytes, but at most 4 are read; split it"):
        list_files(str(listing))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("=1+1.png", "./=1+1.png"),
        ("+a.png", "./+a.png"),
        ("-a.png", "./-a.png"),
        ("@a.png", "./@a.png"),
        ("\ta.png", "./\ta.png"),
        ("a=1.png", "a=1.png"),
        ("/=a.png", "/=a.png"),
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"),
        ("ü.png", "ü.png"),
    ],
)
def test_a_path_is_shown_so_that_it_still_names_the_file(path: str, text: str) -> None:
    assert shown(Path(path)) == text


def test_the_digest_follows_names_order_and_changes(photos: Path) -> None:
    files = list_files(str(photos))
    first = digest_files(files)
    assert digest_files(files) == first
    assert digest_files(files[::-1]) != first
    assert digest_files([*files, photos / "absent.png"]) != first
    files[0].write_bytes(b"changed")
    assert digest_files(files) != first


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_rows_are_the_classifiers_answers_one_by_one(tiny: Classifier, photos: Path, batch_size: int) -> None:
    files = [*list_files(str(photos)), photos / "absent.png", photos]
    rows = list(predict_files(tiny, files, batch_size=batch_size, workers=3))
    errors = {}
    for path, row in zip(files, rows, strict=True):
        if row.error is not None:
            errors[path.name] = row.error
            assert row.verdict is None
            continue
        outputs = tiny.submit({"image": tiny.prepare(path.read_bytes())}).result().outputs
        expected = read_verdicts(tiny.manifest, outputs)[0]
        assert row.verdict is not None
        assert row.verdict.label == expected.label
        np.testing.assert_allclose([*row.verdict.values.values()], [*expected.values.values()], rtol=1e-5)
    assert errors.pop("text.webp").startswith("the 8 bytes are no image in a known format")
    assert errors == {
        "empty.png": "image has 0 bytes, but an image file was expected; send the file's content",
        "absent.png": "file does not exist, but an image file was expected",
        "photos": "file is no regular file, but an image file was expected",
    }


def test_what_is_waiting_is_bounded(tiny: Classifier, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [photos / "deep.tiff"] * 500
    started: list[Path] = []
    original = batch_rows.read_image

    def counting(classifier: Classifier, path: Path):
        started.append(path)
        return original(classifier, path)

    monkeypatch.setattr(batch_rows, "read_image", counting)
    for done, _ in enumerate(predict_files(tiny, files, batch_size=8, workers=2)):
        assert len(started) - done <= (batch_rows.BATCHES_IN_FLIGHT + 1) * 8 + 2 + 8
    assert len(started) == 500


def test_odd_files_are_errors(tiny: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_rows, "MAX_FILE_BYTES", 10)
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 11)
    assert read_image(tiny, path) == "file has 11 bytes, but at most 10 are read"
    path.write_bytes(b"x" * 10)
    assert str(read_image(tiny, path)).startswith("the 10 bytes are no image")
    os.mkfifo(tmp_path / "pipe.png")
    assert read_image(tiny, tmp_path / "pipe.png") == "file is no regular file, but an image file was expected"
    assert str(read_image(tiny, Path("a\0b.png"))).startswith("file ")


def test_a_graph_that_fails_fails_alone(tiny: Classifier, photos: Path) -> None:
    run_graph = tiny.batcher._runner.run
    bad = tiny.prepare((photos / "00.JPG").read_bytes())

    class Picky:
        def run(self, inputs):
            if (inputs["image"] == bad).all(axis=(1, 2, 3)).any():
                raise ModelFaultError("the graph dislikes one image")
            return run_graph(inputs)

    tiny.batcher._runner = Picky()
    files = list_files(str(photos))
    rows = dict(zip(files, predict_files(tiny, files, batch_size=64, workers=2), strict=True))
    assert "the graph dislikes one image" in str(rows[photos / "00.JPG"].error)
    assert sum(row.error is not None for row in rows.values()) == 3


def test_parquet_and_csv_hold_the_same(tiny_path: Path, photos: Path, tmp_path: Path, capsys) -> None:
    parquet, table = tmp_path / "out.parquet", tmp_path / "out.csv"
    assert run(tiny_path, photos, parquet, "--batch-size", "5") == 0
    assert run(tiny_path, photos, table, "--batch-size", "5") == 0
    rows = table_of(parquet)
    assert list(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == [str(path) for path in list_files(str(photos))]
    with table.open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    for row, text in zip(rows, written, strict=True):
        for name, value in row.items():
            if isinstance(value, float):
                assert np.float32(text[name]) == np.float32(value)
            else:
                assert text[name] == (value or "")
    good = [row for row in rows if row["error"] is None]
    assert len(good) == 21
    for row in good:
        assert row["probability"] == max(row[f"probability_{label}"] for label in LABELS)
        assert row["probability"] == row[f"probability_{row['label']}"]
    assert all(row["label"] is row["probability"] is None for row in rows if row["error"])
    metadata = pyarrow.parquet.read_schema(parquet).metadata
    manifest = json.loads((tiny_path / "manifest.json").read_text())
    assert metadata[b"facsimile.bundle_sha256"].decode() == manifest["sha256"]
    assert metadata[b"facsimile.provider"] == b"CPUExecutionProvider"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.parquet", "photos"]
    shown_text = capsys.readouterr().out
    assert "23 files, 2 of them not readable" in shown_text
    assert f"written to {table}" in shown_text


def test_the_csv_is_safe_for_odd_names(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["=cmd|' C'!A0.png", 'quote".png', "comma,.png", "line\nbreak.png", "ünï.png"]
    for name in names:
        Image.new("L", (8, 8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert run(tiny_path, "*.png", Path("out.csv")) == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        found = [row["path"] for row in csv.DictReader(file)]
    assert found == [shown(path) for path in sorted(map(Path, names))]
    assert all(Path(path).is_file() for path in found)
    assert not any(path.startswith("=") for path in found)


def test_the_summary_for_machines(tiny_path: Path, photos: Path, tmp_path: Path, capsys) -> None:
    assert run(tiny_path, photos, tmp_path / "out.parquet", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["errors"], report["resumed"]) == (23, 2, 0)
    assert sum(report["labels"].values()) == 21
    assert list(report["labels"]) == list(LABELS)
    assert report["provider"] == "CPUExecutionProvider"


def interrupt_after(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    counted = 0
    advance = batch_progress.Progress.advance

    def interrupting(self, *, failed: bool = False) -> None:
        nonlocal counted
        counted += 1
        if counted > rows:
            raise KeyboardInterrupt
        advance(self, failed=failed)

    monkeypatch.setattr(batch_progress.Progress, "advance", interrupting)


@pytest.mark.parametrize("change", ["nothing", "bundle", "files", "lost-part", "empty-part", "cut-part"])
def test_interrupted_work_goes_on(
    tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, change: str
) -> None:
    out, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    out.write_bytes(b"an older result")
    monkeypatch.setattr(batch_job, "PART_ROWS", 4)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 10)
        assert run(tiny_path, photos, out, "--batch-size", "3") == 130
    assert "run the same command again, and it goes on from there" in capsys.readouterr().err
    assert out.read_bytes() == b"an older result"
    parts = tmp_path / "out.parquet.parts"
    assert sorted(p.name for p in parts.iterdir()) == [
        "000000000000.parquet",
        "000000000004.parquet",
        "000000000008.parquet",
        "job.json",
    ]
    bundle, expected = tiny_path, 11
    if change == "bundle":
        bundle, expected = write_tiny_bundle(tmp_path / "other", seed=3), 0
    elif change == "files":
        (photos / "empty.png").unlink()
        expected = 0
    elif change == "lost-part":
        (parts / "000000000004.parquet").unlink()
        expected = 4
    elif change.endswith("-part"):
        part = parts / "000000000004.parquet"
        part.write_bytes(b"" if change == "empty-part" else part.read_bytes()[:-20])
        expected = 4
    assert run(bundle, photos, out, "--batch-size", "3", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["resumed"] == expected
    assert ("so it starts anew" in printed.err) is (expected == 0)
    assert (f"going on after {expected} files" in printed.err) is (expected > 0)
    assert not parts.exists()
    assert run(bundle, photos, whole, "--batch-size", "3") == 0
    assert table_of(out) == table_of(whole)


@pytest.mark.parametrize("stray", ["mine.txt", "000000000012.parquet/", "mine.tmp/"])
def test_a_stray_file_costs_no_finished_work(
    tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, stray: str
) -> None:
    out, parts = tmp_path / "out.parquet", tmp_path / "out.parquet.parts"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 10)
        assert run(tiny_path, photos, out, "--batch-size", "3") == 130
    if stray.endswith("/"):
        (parts / stray).mkdir()
    else:
        (parts / stray).write_text("keep")
    before = sorted(path.name for path in parts.iterdir())
    assert "job.json" in before
    assert run(write_tiny_bundle(tmp_path / "other", seed=3), photos, out) == 2
    assert f"error: {parts} holds files that are not ours; move them, then run" in capsys.readouterr().err
    assert sorted(path.name for path in parts.iterdir()) == before
    for resumed in (11, 23):  # of the same job, all is written and kept, and the stray file is named again
        assert run(tiny_path, photos, out) == 2
        said = capsys.readouterr().err
        assert f"going on after {resumed} files" in said
        assert "holds files that are not ours; move them" in said
    (parts / stray).rename(tmp_path / "moved")
    assert run(tiny_path, photos, out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["resumed"] == 23
    assert not parts.exists()


def test_a_folder_in_the_way_is_left_alone(tiny_path: Path, photos: Path, tmp_path: Path, capsys) -> None:
    parts = tmp_path / "out.csv.parts"
    parts.mkdir()
    (parts / "mine.txt").write_text("keep")
    assert run(tiny_path, photos, tmp_path / "out.csv") == 2
    assert "is in the way: it holds no unfinished job; move it, or choose another --out" in capsys.readouterr().err
    (parts / "job.json").write_text("{}")
    assert run(tiny_path, photos, tmp_path / "out.csv") == 2
    assert "holds files that are not ours; move them" in capsys.readouterr().err
    assert (parts / "mine.txt").read_text() == "keep"


def test_pieces_that_vanish_are_noticed(
    tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    write = batch_parts.Parts.write

    def losing(self, start, files, rows) -> None:
        write(self, start, files, rows)
        for path in self.folder.glob("*.parquet"):
            path.unlink()

    monkeypatch.setattr(batch_parts.Parts, "write", losing)
    assert run(tiny_path, photos, tmp_path / "out.csv") == 2
    assert (
        "holds results of 0 files, but 23 were expected; run the same command again, alone" in capsys.readouterr().err
    )
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("bundle", "source", "out", "message"),
    [
        ("absent", "photos", "out.csv", "absent does not exist, but a bundle directory was expected"),
        (
            "tabular",
            "photos",
            "out.csv",
            "is no image classifier (task regression), but batch prediction of images needs one",
        ),
        ("wrong", "photos", "out.csv", "does not reproduce its golden outputs on this machine"),
        (
            "tiny",
            "nothing",
            "out.csv",
            "does not exist, but a folder, a pattern in quotes, a list or an image was expected",
        ),
        ("tiny", "photos", "out.xlsx", "out.xlsx, but must end in .parquet or .csv; give it one of them"),
        ("tiny", "photos", "folder.csv", "folder.csv, but that is a folder; give a file name in it"),
        ("tiny", "photos", "absent/out.csv", "absent does not exist; create it"),
    ],
)
def test_trouble_is_one_sentence_and_status_2(
    tmp_path: Path, tiny_path: Path, photos: Path, capsys, bundle: str, source: str, out: str, message: str
) -> None:
    write_tabular_bundle(tmp_path / "tabular")
    write_tiny_bundle(tmp_path / "wrong", perturbed=0.01)
    (tmp_path / "folder.csv").mkdir()
    path = tiny_path if bundle == "tiny" else tmp_path / bundle
    assert run(path, tmp_path / source, tmp_path / out) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_failed_certificate_is_predicted_with_on_demand_only(tmp_path: Path, photos: Path, capsys) -> None:
    bundle, out = write_tiny_bundle(tmp_path / "b"), tmp_path / "out.csv"
    head = CertificateHead(sha256="0" * 64, bundle_sha256=read_bundle(bundle).manifest.sha256, passed=False)
    (bundle / "certificate.json").write_bytes(encode_sealed(head))
    assert run(bundle, photos, out) == 2
    assert capsys.readouterr().err == (
        f"error: {bundle} has a certificate that says parity failed, so this is not the model that was trained; "
        "see `python -m evaluate parity`, or use it all the same with --allow-failed\n"
    )
    assert not out.exists()
    assert run(bundle, photos, out, "--allow-failed") == 0
    assert out.exists()


def test_a_piece_that_breaks_before_the_end_is_trouble(
    tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    write = batch_parts.Parts.write

    def damaging(self, start, files, rows) -> None:
        write(self, start, files, rows)
        for path in self.folder.glob("*.parquet"):
            content = bytearray(path.read_bytes())
            content[4:60] = bytes(56)  # the first page; the end, which is read first, stays whole
            path.write_bytes(content)

    monkeypatch.setattr(batch_parts.Parts, "write", damaging)
    assert run(tiny_path, photos, tmp_path / "out.csv") == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {tmp_path}/out.csv.parts/000000000000.parquet is damaged (")
    assert error.endswith(f"); remove {tmp_path}/out.csv.parts, then run the same command again")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("options", [("--batch-size", "0"), ("--workers", "0")])
def test_options_out_of_range(tiny_path: Path, photos: Path, tmp_path: Path, capsys, options: tuple[str, str]) -> None:
    assert run(tiny_path, photos, tmp_path / "out.csv", *options) == 2
    assert capsys.readouterr().err == f"error: {options[0]} is 0, but must be at least 1\n"
    assert run(tiny_path, photos, tmp_path / "out.csv", options[0], "1") == 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_is_not_writable(tiny_path: Path, photos: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert run(tiny_path, photos, tmp_path / "closed" / "out.csv") == 2
    assert "is not writable; choose another" in capsys.readouterr().err


def test_two_labels_of_one_name_are_refused() -> None:
    job = batch_parts.Job(name="n", bundle_sha256="a", files_sha256="b", files=1, provider="p", precision="float32")
    assert schema_of(("a", "b"), job).names[3:5] == ["probability_a", "probability_b"]
    with pytest.raises(OutputError, match="label 'a' stands twice in the bundle, but columns need different names"):
        schema_of(("a", "b", "a"), job)


def test_progress_writes_plain_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(batch_progress, "LINE_EVERY_S", 0.0)
    with batch_progress.Progress("predicting", unit="files") as progress:
        progress.start(3, done=1)
        progress.advance()
        progress.advance(failed=True)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("predicting: 2 of 3 files, ")
    assert "1 errors" in lines[1]
    assert "\x1b" not in stream.getvalue()


def test_real_photos_get_the_classifiers_labels(tmp_path: Path) -> None:
    root = os.environ.get("DATA_ROOT")
    if not root or not (Path(root) / "pizza_steak_sushi" / "test").is_dir():
        pytest.skip("DATA_ROOT has no pizza_steak_sushi/test, so there are no photos to predict")
    bundle = write_tiny_bundle(tmp_path / "b", color="RGB", seed=2)
    assert run(bundle, Path(root) / "pizza_steak_sushi" / "test", tmp_path / "out.parquet") == 0
    rows = table_of(tmp_path / "out.parquet")
    assert len(rows) == 75
    with Classifier.open(bundle, provider="cpu", threads=1) as classifier:
        for row in rows:
            outputs = classifier.submit({"image": classifier.prepare(Path(row["path"]).read_bytes())}).result().outputs
            expected = read_verdicts(classifier.manifest, outputs)[0]
            assert row["label"] == expected.label
            np.testing.assert_allclose(row["probability"], expected.probability, rtol=1e-5)


def test_no_file_that_can_be_read_is_trouble(
    tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fake.png").write_text("no image", encoding="utf-8")
    out = tmp_path / "out.csv"
    assert main([str(tiny_path), str(tmp_path / "fake.png"), "--out", str(out), "--provider", "cpu"]) == 2
    assert (
        f"error: none of the 1 files could be predicted; the error column of {out} says why" in capsys.readouterr().err
    )
    assert out.exists()
