"""What ``python -m export`` exits with where something goes wrong that nobody foresaw."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from export.__main__ import main
from tests.export import own_files


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with somebody's network; what importing it adds to the path is taken off again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return own_files.place(tmp_path)


def run(*more: str) -> int:
    flags = ["--factory", "net.py:Net", "--weights", "net.pth", "--input", "image:uint8[16,16,3]"]
    return main([*flags, "--labels", "labels.txt", "--formats", "onnx", *more])


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bundle be written in no time."""

    def write_bundle(target: Path, *_: object, **__: object) -> SimpleNamespace:
        target.mkdir(parents=True)
        return SimpleNamespace(sha256="0" * 64)

    monkeypatch.setattr("export.write.write_bundle", write_bundle)


def test_a_fault_of_the_exporter_is_trouble_and_not_a_failed_parity(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise IndexError("the exporter itself is broken")

    monkeypatch.setattr("export.write.write_bundle", broken)
    assert run() == 2
    assert "IndexError: the exporter itself is broken" in capsys.readouterr().err
    assert not (here / "bundles").exists()


@pytest.mark.parametrize(
    ("code", "expected", "message"),
    [
        pytest.param(0, 0, "", id="parity holds"),
        pytest.param(1, 1, "", id="parity fails"),
        pytest.param(2, 2, "", id="trouble, which evaluate told itself"),
        pytest.param(130, 130, "", id="stopped"),
        pytest.param(
            -9,
            2,
            "error: bundles/net is written, but evaluate was killed by signal 9 before it could judge it; run `python "
            "-m evaluate parity` on it, where there is more memory say\n",
            id="killed",
        ),
        pytest.param(
            134, 2, "error: bundles/net is written, but evaluate exited 134 before it could judge it;", id="aborted"
        ),
    ],
)
def test_what_becomes_of_the_judges_exit_code(
    code: int,
    expected: int,
    message: str,
    written: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def judge(args: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert args[1:4] == ["-m", "evaluate", "parity"]
        return subprocess.CompletedProcess(args, code)

    monkeypatch.setattr("export.__main__.subprocess.run", judge)
    assert run("--certify", "full") == expected
    errors = [line for line in capsys.readouterr().err.splitlines(keepends=True) if line.startswith("error")]
    assert "".join(errors).startswith(message)
    assert bool(errors) == bool(message)


def test_the_judge_reads_the_data_where_the_export_did(
    digits_run: Path, here: Path, written: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(digits_run, here / "run"))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["data"]["root"] = "its own place"
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.delenv("DATA_ROOT", raising=False)
    assert main(["run", "--out", "a", "--data-root", "mine"]) == 0
    assert "next   python -m evaluate parity a --data-root mine\n" in capsys.readouterr().out
    assert main(["run", "--out", "b"]) == 0
    assert "next   python -m evaluate parity b --data-root 'its own place'\n" in capsys.readouterr().out
    assert main(["run", "--out", "c", "--data-root", "data"]) == 0  # where it would look by itself
    assert "next   python -m evaluate parity c\n" in capsys.readouterr().out
    monkeypatch.setenv("DATA_ROOT", "elsewhere")
    assert main(["run", "--out", "d"]) == 0
    assert "next   python -m evaluate parity d\n" in capsys.readouterr().out
    asked = list[str]()

    def judge(args: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        asked.extend(args)
        return subprocess.CompletedProcess(args, 0)

    monkeypatch.setattr("export.__main__.subprocess.run", judge)
    assert main(["run", "--out", "e", "--data-root", "mine", "--certify", "full"]) == 0
    assert asked[3:] == ["parity", "e", "--data-root", "mine"]


def test_a_judge_that_cannot_be__one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("export.__main__.subprocess.run", judge)
    assert run() == 2
    assert "net is written, but evaluate could not be started ([Errno 12] Cannot" in capsys.readouterr().err
