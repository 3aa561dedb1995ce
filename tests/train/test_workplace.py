"""The folder in which a new version is made: marked, locked, cleared away when its process died, and no other."""

import os
import shutil
from pathlib import Path

import pytest

import train.write
from train.lock import lock_folder
from train.workplace import NEW, OLD, Kind, put_back, workplace
from train.write import swap_directory

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
THING = Kind(name="thing", last="last", is_whole=lambda folder: (folder / "last").is_file())


def version(folder: Path, content: str, *, age: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "last").write_text(content)
    os.utime(folder / "last", (2e9 - age, 2e9 - age))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_folder_is_marked_and_goes(tmp_path: Path) -> None:
    with workplace(tmp_path / "deep" / "x", THING) as folder:
        assert names(folder) == ["facsimile-thing", NEW]
        version(folder / OLD, "before")
    assert (tmp_path / "deep" / "x" / "last").read_text() == "before"  # the only copy never goes
    assert names(tmp_path / "deep") == ["x"]


def test_what_is_not_ours_in_the_folder_stays(tmp_path: Path) -> None:
    with workplace(tmp_path / "x", THING) as folder:
        (folder / "thesis.tex").write_text("years of work")
    assert names(folder) == ["facsimile-thing", "thesis.tex"]


def test_a_folder_that_cannot_be_marked_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OSError, match="no space left on device"), workplace(tmp_path / "x", THING):
        pass
    assert names(tmp_path) == []


@POSIX
def test_the_newest_version_that_kills_left_is_put_back(tmp_path: Path) -> None:
    for letter, side, age in (("a", OLD, 300), ("b", NEW, 100), ("c", OLD, 200)):
        folder = tmp_path / f".x.thing-{letter * 8}"
        version(folder / side, letter, age=age)
        (folder / THING.marker).write_text("")
    version(tmp_path / ".x.thing-bbbbbbbb" / OLD, "younger by its clock only")
    (tmp_path / ".x.thing-dddddddd").mkdir()  # killed before it was marked
    version(tmp_path / ".x.thing-eeeeeeee" / NEW, "e")  # not marked, so not ours
    put_back(tmp_path / "x", THING)
    assert (tmp_path / "x" / "last").read_text() == "b"
    assert names(tmp_path) == [".x.thing-eeeeeeee", "x"]


@POSIX
def test_a_folder_that_is_worked_in_is_left_alone(tmp_path: Path) -> None:
    with workplace(tmp_path / "x", THING) as folder:
        version(folder / OLD, "before")
        put_back(tmp_path / "x", THING)
        assert names(tmp_path) == [folder.name]
        assert names(folder) == ["facsimile-thing", NEW, OLD]


@POSIX
@pytest.mark.parametrize("moment", ["before it is locked", "after it is locked"])
def test_a_folder_that_another_clears_before_it_is_marked_is_made_again(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def take_the_first(folder: Path, *, wait: bool = False) -> int | None:
        if taken:
            return lock_folder(folder, wait=wait)
        taken.append(folder.name)
        lock = lock_folder(folder, wait=wait) if moment == "after it is locked" else None
        folder.rmdir()
        return lock or lock_folder(folder, wait=wait)

    monkeypatch.setattr("train.workplace.lock_folder", take_the_first)
    with workplace(tmp_path / "x", THING) as folder:
        assert names(tmp_path) == [folder.name]
        assert taken != [folder.name]
    assert names(tmp_path) == []


@POSIX
def test_a_kill_while_a_folder_is_cleared_leaves_its_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(folder: Path, *, ignore_errors: bool = False) -> None:
        if folder.name == OLD:
            raise Killed
        rmtree(folder, ignore_errors=ignore_errors)

    def make() -> None:
        with workplace(tmp_path / "x", THING) as folder:
            version(folder / OLD, "before")
            monkeypatch.setattr(shutil, "rmtree", killed)

    rmtree = shutil.rmtree
    version(tmp_path / "x", "now")
    with pytest.raises(Killed):
        make()
    monkeypatch.undo()
    [folder] = tmp_path.glob(".x.thing-*")
    assert names(folder) == ["facsimile-thing", OLD]


@POSIX
def test_another_users_folder_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, *, wait: bool = False) -> int | None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / ".x.thing-00000000").mkdir()
    monkeypatch.setattr("train.workplace.lock_folder", refuse)
    put_back(tmp_path / "x", THING)
    assert names(tmp_path) == [".x.thing-00000000"]


# ---- a power cut


@POSIX
@pytest.mark.parametrize("way", ["first", "exchange", "renames"])
def test_what_is_put_in_place_is_on_the_disk_before_the_old_one_goes(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    fresh, aside, place = tmp_path / "work" / NEW, tmp_path / "work" / OLD, tmp_path / "x"

    def note(descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        name = next(path.name for path in (tmp_path, *tmp_path.rglob("*")) if path.stat().st_ino == inode)
        synced.append((name, any(path.read_text() == "before" for path in tmp_path.rglob("last"))))

    if way != "first":
        version(place, "before")
    if way == "renames":
        monkeypatch.setattr(train.write, "exchange", lambda *_: False)
    version(fresh, "after")
    monkeypatch.setattr(os, "fsync", note)
    swap_directory(place, fresh, aside=aside)
    old_is_there = way != "first"
    assert synced == [("last", old_is_there), (NEW, old_is_there), (tmp_path.name, old_is_there)]
    assert (place / "last").read_text() == "after"
    assert names(tmp_path / "work") == []


def test_a_folder_that_cannot_be_synced_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    swap_directory(tmp_path / "x", version(tmp_path / NEW, "after"), aside=tmp_path / OLD)
    assert (tmp_path / "x" / "last").read_text() == "after"
