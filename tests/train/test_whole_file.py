"""A file is written whole or not at all, and nothing is left beside it."""

import os
import stat
from pathlib import Path

import pytest

from train.studies.record import check_out
from train.studies.registry import StudyError
from train.whole_file import leftover_prefix, write_whole


def test_a_file_is_made_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "file"
    write_whole(path, b"before")
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_can_read_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_what_fails_leaves_the_old_file(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "file", b"before")
    monkeypatch.setattr(*((os, "fsync", refuse) if step == "fsync" else (Path, "replace", refuse)))
    with pytest.raises(OSError, match="No space left on device"):
        write_whole(tmp_path / "file", b"after")
    assert (tmp_path / "file").read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_a_kill_left_of_a_study_is_no_stray_file(tmp_path: Path) -> None:
    for name in ("result.json", "plot.png", f"{leftover_prefix('plot.png')}a_b1c2d3"):
        (tmp_path / name).write_text("")
    check_out(tmp_path)
    (tmp_path / ".plot.png").write_text("mine")
    with pytest.raises(StudyError, match=r"holds \.plot\.png, which is no part of a study"):
        check_out(tmp_path)
