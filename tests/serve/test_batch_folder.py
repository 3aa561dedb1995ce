"""Two batch jobs on one output, and what killed ones leave: neither may spoil a result, or be in the way."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve import batch_folder, batch_parts
from serve.batch import main
from serve.batch_parts import schema_of
from serve.lock import lock_folder

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(np.full((8, 8), 80 * index, dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def run(bundle: Path, source: Path, out: Path) -> int:
    return main([str(bundle), str(source), "--out", str(out), "--provider", "cpu", "--workers", "1"])


@pytest.mark.parametrize("name", ["out.csv.parts", "elsewhere"])
def test_what_is_no_folder_is_left_alone(tiny_path: Path, photos: Path, tmp_path: Path, capsys, name: str) -> None:
    (tmp_path / name).write_text("keep")
    if name == "elsewhere":
        (tmp_path / "out.csv.parts").symlink_to(tmp_path / "elsewhere")
    assert run(tiny_path, photos, tmp_path / "out.csv") == 2
    assert "out.csv.parts is in the way: it is no folder; move it, or choose another --out" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "keep"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_neither_folder_nor_file_is_left_alone(
    tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    name = "out.csv.parts"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "pipe":
            os.mkfifo(name)
        else:
            listener.bind(name)
        assert run(tiny_path, photos, Path("out.csv")) == 2
    assert capsys.readouterr().err == (
        "error: out.csv.parts is in the way: it is no folder; move it, or choose another --out\n"
    )
    assert Path(name).exists()


def test_a_folder_that_goes_as_it_is_looked_at_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out.csv.parts"
    folder.mkdir()
    mkdir = Path.mkdir
    tries = []

    def ending(self: Path) -> None:
        tries.append(self)
        try:
            mkdir(self)
        except FileExistsError:  # the other job ends now
            self.rmdir()
            raise

    monkeypatch.setattr(Path, "mkdir", ending)
    lock = batch_folder.take_folder(folder, tmp_path / "out.csv")
    assert len(tries) == 2
    assert folder.is_dir()
    if lock is not None:
        os.close(lock)


HELD = """
import sys
from pathlib import Path
from serve.batch_parts import Job, Parts, schema_of
job = Job(name="n", bundle_sha256="a", files_sha256="b", files=1, provider="p", precision="float32")
with Parts(Path(sys.argv[1]), schema=schema_of(("a",), job), labels=("a",)) as parts:
    parts.open(job)
    print("works", flush=True)
    sys.stdin.read()
"""


@POSIX
def test_a_second_job_on_one_output_is_refused_until_the_first_is_dead(
    tiny_path: Path, photos: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out.csv"
    command = [sys.executable, "-c", HELD, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "works\n"
        before = sorted((path.name, path.read_bytes()) for path in out.with_name("out.csv.parts").iterdir())
        assert run(tiny_path, photos, out) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"error: --out is {out}, but another job is writing it and works in {out}.parts; "
            "wait until that has ended, or choose another --out"
        )
        assert sorted((path.name, path.read_bytes()) for path in out.with_name("out.csv.parts").iterdir()) == before
        assert run(tiny_path, photos, tmp_path / "other.csv") == 0
        other.kill()
    assert run(tiny_path, photos, out) == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == ["out.csv"]


@pytest.mark.parametrize("left", [(), ("job.tmp",), ("job.json",), ("job.json", "000000000512.parquet")])
def test_a_job_killed_at_any_moment_leaves_nothing_in_the_way(
    tiny_path: Path, photos: Path, tmp_path: Path, left: tuple[str, ...]
) -> None:
    parts = tmp_path / "out.csv.parts"
    parts.mkdir()
    for name in left:
        (parts / name).write_text("{}")
    assert run(tiny_path, photos, tmp_path / "out.csv") == 0
    assert not parts.exists()


def test_what_says_whose_pieces_they_are_goes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = batch_parts.Job(name="n", bundle_sha256="a", files_sha256="b", files=1, provider="p", precision="float32")
    removed: list[str] = []
    unlink = Path.unlink

    def watched(self: Path, missing_ok: bool = False) -> None:
        removed.append(self.name)
        unlink(self, missing_ok=missing_ok)

    with batch_parts.Parts(tmp_path / "out.csv", schema=schema_of(("a",), job), labels=("a",)) as parts:
        parts.open(job)
        for number in range(20):
            (parts.folder / f"{number:012d}.parquet").write_bytes(b"")
        monkeypatch.setattr(Path, "unlink", watched)
        parts.remove()
    assert removed[-1] == "job.json"
    assert len(removed) == 21


@POSIX
def test_a_folder_that_goes_and_comes_back_is_locked_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "out.csv.parts", tmp_path / "out.csv"
    happened = []

    def late(path: Path) -> int | None:
        if len(happened) == 0:  # the other job ends before this one looks
            happened.append("gone before")
            path.rmdir()
        descriptor = lock_folder(path)
        if len(happened) == 1:  # it ends after this one has opened the folder, and a third makes it anew
            happened.append("gone after")
            path.rename(tmp_path / "gone")
            path.mkdir()
        return descriptor

    monkeypatch.setattr(batch_folder, "lock_folder", late)
    lock = batch_folder.take_folder(folder, out)
    assert lock is not None
    try:
        assert happened == ["gone before", "gone after"]
        with pytest.raises(BlockingIOError):
            lock_folder(folder)
    finally:
        os.close(lock)


def test_where_there_are_no_locks_a_job_runs_all_the_same(
    tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_folder, "lock_folder", lambda _: None)
    assert run(tiny_path, photos, tmp_path / "out.csv") == 0
    assert not (tmp_path / "out.csv.parts").exists()
