"""Writing a bundle: what is replaced, what is left alone, and what the files tell."""

import json
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export.draft import Draft
from export.errors import ExportError
from export.progress import Listener, Step
from export.write import write_bundle
from serve.bundle import Feature, read_bundle
from tests.conftest import run_command
from tests.export.drafts import draft_of_line

FEATURES = (Feature(name="rooms", optional=True), Feature(name="alley", categories=("Pave",), optional=True))
TABLE = np.array([[np.nan, 0], [2, np.nan], [4, np.nan], [3, 0]], dtype=np.float32)


def draft(seed: int = 0) -> Draft:
    return draft_of_line(seed, features=FEATURES, table=TABLE, columns=3, mean=(3.0, 0.0))


def test_a_table_with_missing_values_becomes_a_bundle(tmp_path: Path) -> None:
    manifest = write_bundle(tmp_path / "houses", draft())
    bundle = read_bundle(tmp_path / "houses")
    assert bundle.manifest == manifest
    assert [spec.shape for spec in manifest.inputs] == [("batch", 2)]
    assert manifest.features == FEATURES
    assert [path.name for path in tmp_path.iterdir()] == ["houses"]


def test_a_bundle_is_replaced_whole(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "houses", draft(0))
    (tmp_path / "houses" / "certificate.json").write_text("{}", encoding="utf-8")
    second = write_bundle(tmp_path / "houses", draft(1))
    assert first.sha256 != second.sha256
    assert read_bundle(tmp_path / "houses").manifest == second
    assert [path.name for path in tmp_path.iterdir()] == ["houses"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("thesis.txt", "mine", "holds files but no valid manifest.json", id="other files"),
        pytest.param("manifest.json", '{"manifest_version": 3}', "no valid manifest.json", id="a foreign manifest"),
    ],
)
def test_what_is_no_bundle_is_left_alone(name: str, content: str, message: str, tmp_path: Path) -> None:
    target = tmp_path / "houses"
    target.mkdir()
    (target / name).write_text(content, encoding="utf-8")
    with pytest.raises(ExportError, match=message):
        write_bundle(target, draft())
    assert [(path.name, path.read_text(encoding="utf-8")) for path in target.iterdir()] == [(name, content)]


def test_a_file_of_ones_own_in_a_bundle_is_not_lost(tmp_path: Path) -> None:
    write_bundle(tmp_path / "houses", draft())
    (tmp_path / "houses" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ExportError, match=r"holds notes\.txt, which is no part of the bundle and would be lost"):
        write_bundle(tmp_path / "houses", draft())
    assert (tmp_path / "houses" / "notes.txt").exists()


@pytest.mark.parametrize("name", [".certificate.json-x1y2z3_4", ".model.sig-abcdefgh", ".DS_Store"])
def test_what_a_kill_or_a_system_left_in_a_bundle_is_in_nobodys_way(name: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "houses", draft(0))
    (tmp_path / "houses" / name).write_bytes(b"left")
    second = write_bundle(tmp_path / "houses", draft(1))
    assert read_bundle(tmp_path / "houses").manifest == second
    assert not (tmp_path / "houses" / name).exists()


def test_a_folder_that_holds_what_a_system_left_is_empty(tmp_path: Path) -> None:
    (tmp_path / "houses").mkdir()
    (tmp_path / "houses" / ".DS_Store").touch()
    assert write_bundle(tmp_path / "houses", draft()) == read_bundle(tmp_path / "houses").manifest


def test_a_file_that_comes_into_the_target_while_an_export_runs_is_not_lost(tmp_path: Path) -> None:
    target = tmp_path / "houses"
    before = write_bundle(target, draft(0))

    def put(step: Step) -> None:
        if step.name == "manifest.json":
            (target / "notes.txt").write_text("mine", encoding="utf-8")

    listener = Listener(on_start=lambda _: None, on_step=put, on_note=lambda _: None)
    with pytest.raises(ExportError, match=r"holds notes\.txt, which is no part of the bundle and would be lost"):
        write_bundle(target, draft(1), listener=listener)
    assert (target / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert read_bundle(target).manifest == before
    assert [path.name for path in tmp_path.iterdir()] == ["houses"]


@pytest.mark.parametrize("name", ["torchscript", "exported-program", "onnx", "state_dict.pt"])
def test_a_full_disk_is_not_the_models_fault(name: str, tmp_path: Path) -> None:
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, kept[1]))  # to a process, that is a disk that is full
    try:
        with pytest.raises(ExportError, match=r"houses cannot be written \(\[Errno 27\] .*\); free the place or give"):
            write_bundle(tmp_path / "houses", draft(), formats=() if name == "state_dict.pt" else (name,))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_a_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("file", "link"):
        with pytest.raises(ExportError, match="is a file or a link, but a bundle is a directory"):
            write_bundle(tmp_path / name, draft())


def test_a_failed_export_leaves_the_old_bundle(tmp_path: Path) -> None:
    class Branch(nn.Module):
        def forward(self, features: torch.Tensor) -> tuple[torch.Tensor]:
            return (features[:, :1] if features.nansum() > 0 else features[:, 1:],)

    from dataclasses import replace

    before = write_bundle(tmp_path / "houses", draft())
    notes: list[str] = []
    with pytest.raises(ExportError, match="decides by its data, but an ONNX graph holds one way only"):
        write_bundle(
            tmp_path / "houses",
            replace(draft(), module=Branch().eval()),
            formats=("onnx",),
            listener=Listener(on_note=notes.append),
        )
    assert notes == []  # that it reads values, say, or is served one row at a time
    assert read_bundle(tmp_path / "houses").manifest == before
    assert [path.name for path in tmp_path.iterdir()] == ["houses"]


def test_no_file_tells_where_it_was_made(digits_bundle: Path) -> None:
    places = [str(place).encode() for place in (Path(torch.__file__).parents[1], Path.cwd(), Path.home())]
    for path in digits_bundle.iterdir():
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        for place in places:
            assert not any(place in content for content in contents), f"{path.name} holds {place!r}"


def test_a_missing_run_is_one_sentence(tmp_path: Path) -> None:
    result = run_command("export", "runs/nothing", cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "error: runs/nothing does not exist, but a run directory was expected; make one with "
        "`python -m train run RECIPE`\n"
    )


def test_the_formats_on_the_command_line_are_those_of_the_registry(tmp_path: Path) -> None:
    from typing import get_args, get_type_hints

    from export.__main__ import Export
    from export.formats import FORMATS

    (choices, _) = get_args(get_type_hints(Export)["formats"])
    assert set(get_args(choices)) == set(FORMATS)


def test_an_unfinished_run_says_so(digits_run: Path, tmp_path: Path) -> None:
    import shutil

    run = Path(shutil.copytree(digits_run, tmp_path / "run"))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record |= {"finished": False, "epochs_done": 1}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    result = run_command("export", "run", "--out", "bundle", cwd=tmp_path)
    assert "note: the run was stopped after 1 of 60 epochs" in result.stderr
    assert read_bundle(tmp_path / "bundle").manifest.provenance.training["finished"] is False
    assert "finished False, epochs 1" in (tmp_path / "bundle" / "model-card.md").read_text(encoding="utf-8")
