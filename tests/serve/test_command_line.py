"""What is said of a command line that cannot be read: one sentence, on stderr, with what may have been meant."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import tyro

import evaluate.__main__
import export.__main__
import export.sign
import serve.__main__
import serve.batch
import train.__main__
from serve.command_line import told_in_one_sentence
from serve.stdout import run_main

MAINS = {"evaluate": evaluate.__main__, "export": export.__main__, "train": train.__main__, "serve": serve.__main__}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        pytest.param(
            "evaluate parity b --quik",
            "option --quik does not exist, but those of `python -m evaluate parity` were expected; did you mean "
            "--quick?",
            id="option",
        ),
        pytest.param(
            "evaluate parity --quik",
            "option --quik does not exist, but those of `python -m evaluate parity` were expected; did you mean "
            "--quick?",
            id="option, and something is missing",
        ),
        pytest.param(
            "export r --inptu=a",
            "option --inptu does not exist, but those of `python -m export` were expected; did you mean --input?",
            id="option of a group, renamed",
        ),
        pytest.param(
            "train run digits --zzz 3",
            "option --zzz does not exist, but those of `python -m train run` were expected; see `python -m train run "
            "--help`",
            id="option like none",
        ),
        pytest.param(
            "evaluate pariti b",
            "command 'pariti' does not exist, but one of parity, accuracy, bench, blame, report, faults, zoo, alarms "
            "was expected; did you mean parity?",
            id="command",
        ),
        pytest.param(
            "train",
            "no command is given, but one of list, run, folder, compare, show, study, reproduce was expected; see "
            "`python -m train --help`",
            id="no command",
        ),
        pytest.param(
            "evaluate parity",
            "BUNDLE is missing, but `python -m evaluate parity` needs it; see `python -m evaluate parity --help`",
            id="missing",
        ),
        pytest.param(
            "evaluate parity b c",
            "'c' is one argument more than `python -m evaluate parity` takes; leave it out, or see `python -m evaluate "
            "parity --help`",
            id="one too many",
        ),
        pytest.param(
            "evaluate parity b --threads two",
            "--threads is 'two', but a whole number was expected; see `python -m evaluate parity --help`",
            id="whole number",
        ),
        pytest.param(
            "serve b --port=x",
            "--port is 'x', but a whole number was expected; see `python -m serve --help`",
            id="after an equals sign",
        ),
        pytest.param(
            "evaluate parity b --max-drop little",
            "--max-drop is 'little', but a number was expected; see `python -m evaluate parity --help`",
            id="number",
        ),
        pytest.param(
            "evaluate parity b --samples",
            "--samples is given without a value, but one was expected; give it, or see `python -m evaluate parity "
            "--help`",
            id="no value",
        ),
        pytest.param(
            "export r --formats onxx",
            "--formats is 'onxx', but one of onnx, torchscript, exported-program, onnx-fp16, onnx-int8, triton was "
            "expected; did you mean onnx?",
            id="choice",
        ),
        pytest.param(
            "export r --certify maybe",
            "--certify is 'maybe', but one of full, none, quick was expected; choose one of those",
            id="choice that may be left out",
        ),
    ],
)
def test_the_sentence(line: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    package, *args = line.split()
    with pytest.raises(SystemExit) as caught:
        MAINS[package].main(args)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


def test_a_package_s_other_command_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export.sign.main(["bundle", "--kee", "k"])
    assert capsys.readouterr().err.endswith("did you mean --key?\n")


@dataclass(frozen=True)
class Known:
    """Takes a number."""

    rows: int = 0


def test_events_of_another_tyro_leave_it_its_box(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("serve.command_line._name", lambda argument: argument.gone)
    with pytest.raises(SystemExit) as caught, told_in_one_sentence(Known, prog="p", args=["--rows", "x"]):
        tyro.cli(Known, prog="p", args=["--rows", "x"])
    assert caught.value.code == 2
    assert "invalid literal" in capsys.readouterr().err


def test_help_is_tyro_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        train.__main__.main(["run", "--help"])
    assert caught.value.code == 0
    assert "--learning-rate" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("flush", [True, False], ids=["at once", "at the end"])
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_stdout_that_cannot_be_written_is_named(flush: bool, unbuffered: str) -> None:
    code = f"import sys; from serve.stdout import run_main; sys.exit(run_main(lambda: print('x', flush={flush}) or 0))"
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        2,
        "error: stdout cannot be written (No space left on device), but results go there; free the place, or send it "
        "elsewhere\n",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_command_s_stdout_that_cannot_be_written_is_named() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "train", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: stdout cannot be written (No space left on device)")


def test_what_has_no_option_is_not_offered_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        serve.batch.main(["bundle", "files", "--sourc", "x"])
    assert caught.value.code == 2
    assert "--source" not in capsys.readouterr().err


@pytest.mark.parametrize(("unbuffered", "ends_with"), [("", 1), ("1", 141)])
def test_a_reader_that_has_had_enough_is_no_trouble(unbuffered: str, ends_with: int) -> None:
    code = "import sys; from serve.stdout import run_main; sys.exit(run_main(lambda: print('x' * 1000) or 1))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == ends_with


def test_another_trouble_with_files_is_not_stdout_s() -> None:
    def fail() -> int:
        raise OSError("of a disk")

    with pytest.raises(OSError, match="of a disk"):
        run_main(fail)


def test_the_exit_code_stays() -> None:
    codes: list[Callable[[], int]] = [lambda: 0, lambda: 1, lambda: 130]
    assert [run_main(code) for code in codes] == [0, 1, 130]
