"""The command line, as a user runs it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_command
from train.__main__ import main
from train.recipes.registry import RECIPES
from train.run import load_network, read_metrics, read_run

FILES = ["checkpoint.pt", "curves.png", "metrics.csv", "run.json", "state_dict.pt"]


def test_list_shows_every_recipe(tmp_path: Path) -> None:
    lines = run_command("train", "list", cwd=tmp_path).stdout.splitlines()
    assert lines[0].split() == ["recipe", "task", "data", "parameters", "notes", "what", "it", "is"]
    assert [line.split()[0] for line in lines[1:]] == list(RECIPES)
    assert lines[2].split()[:5] == ["fashion-tinyvgg", "classification", "fashion-mnist", "7,740", "88.38%"]


def test_list_for_machines(tmp_path: Path) -> None:
    recipes = json.loads(run_command("train", "list", "--json", cwd=tmp_path).stdout)
    assert [recipe["name"] for recipe in recipes] == list(RECIPES)
    assert {recipe["name"]: recipe["parameters"] for recipe in recipes}["fashion-tinyvgg"] == 7740


@pytest.mark.parametrize(
    "arguments", [["list"], ["--help"], ["run", "--help"], ["compare", "--help"], ["run", "nothing"]], ids=" ".join
)
def test_answers_without_torch(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from train.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'sklearn', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["digit"], "was expected; did you mean digits?", id="unknown-recipe"),
        pytest.param(["digits", "--epochs", "0"], "error: recipe digits has epochs 0, but at least 1", id="no-epochs"),
        pytest.param(
            ["digits", "--threads", "0"], "error: recipe digits has threads 0, but at least 1", id="no-threads"
        ),
        pytest.param(["digits", "--out", "."], "holds something that is no run, and it is left alone", id="out-taken"),
        pytest.param(
            ["digits", "--validation", "2"], "error: recipe digits has validation 2.0, but a share", id="validation"
        ),
        pytest.param(["fashion-tinyvgg", "--data-root", "file"], "error: data root file is a file, but", id="no-data"),
        pytest.param(["digits", "--threads", "5000"], "has threads 5000, but at most 1024 were", id="threads"),
        pytest.param(["digits", "--batch-size", str(2**63)], "but it must be below 2**63; give a sm", id="batch-size"),
    ],
)
def test_trouble_is_one_sentence_and_exit_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("no directory")
    monkeypatch.chdir(tmp_path)
    assert main(["run", *arguments]) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_trouble_of_a_process_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = run_command("train", "run", "digits", "--out", ".", cwd=tmp_path, check=False)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("error: . holds something that is no run, and it is left alone")
    assert result.stdout == ""


@pytest.mark.parametrize("arguments", [["digits", "--epochs", "many"], ["digits", "--device", "tpu"], []], ids=" ".join)
def test_malformed_command_line_is_exit_2(arguments: list[str], tmp_path: Path) -> None:
    result = run_command("train", "run", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_missing_cuda_is_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("CUDA is there, so it cannot be missing")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "digits", "--device", "cuda"]) == 2
    assert "error: device cuda was asked for, but torch" in capsys.readouterr().err


def test_short_run(tmp_path: Path) -> None:
    result = run_command("train", "run", "digits", "--epochs", "2", "--seed", "5", "--device", "cpu", cwd=tmp_path)
    path = tmp_path / "runs" / "digits"
    assert sorted(entry.name for entry in path.iterdir()) == FILES
    assert [entry.name for entry in (tmp_path / "runs").iterdir()] == ["digits"]
    run, history = read_run(path), read_metrics(path)
    assert (run.seed, run.epochs, run.finished, run.device_reason) == (5, 2, True, "asked for")
    load_network(path, run)
    with (path / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        header = next(csv.reader(lines))
    assert header == [
        *("epoch", "train_loss", "train_top1_accuracy", "test_loss", "test_top1_accuracy", "duration_s"),
        *("validation_loss", "validation_top1_accuracy", "learning_rate"),
        "validation_weighted_loss",
    ]
    assert [line[:9] for line in result.stderr.splitlines()[1:]] == ["epoch 1/2", "epoch 2/2"]
    accuracy = f"{history[-1].test_top1_accuracy:.2%} of 360 test images right"
    assert f"result   {accuracy}" in result.stdout
    assert "always the commonest class: 10.28%" in result.stdout
    assert result.stdout.splitlines()[-1] == f"next     python -m export {Path('runs/digits')}"
    again = run_command("train", "run", "digits", "--epochs", "1", cwd=tmp_path, check=False)
    assert again.returncode == 2
    assert "holds a finished run; give --overwrite to replace it, or another --out" in again.stderr


def start_long_run(cwd: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "train", "run", "digits", "--epochs", "100000", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_until(process: "subprocess.Popen[str]", start: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(start):
            return
    pytest.fail(f"the process ended before it printed {start!r}")


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to one process")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_stopped_run_is_usable(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with start_long_run(tmp_path) as process:
        read_until(process, "epoch      2/100000")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    path = tmp_path / "runs" / "digits"
    run = read_run(path)
    assert not run.finished
    assert 2 <= run.epochs_done == len(read_metrics(path)) < 100_000
    load_network(path, run)
    assert f"stopped: {Path('runs/digits')} holds the state after epoch {run.epochs_done}; --resume goes on" in stderr
    assert "Traceback" not in stderr
    assert "next     python -m export" in stdout
    assert [entry.name for entry in (tmp_path / "runs").iterdir()] == ["digits"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to one process")
def test_stopped_before_the_first_epoch_leaves_nothing(tmp_path: Path) -> None:
    # one row a step: the first epoch lasts seconds, and the line before it says when training is about to start
    with start_long_run(tmp_path, "--batch-size", "1") as process:
        read_until(process, "Handwritten digits")
        started = time.perf_counter()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert time.perf_counter() - started < 30
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "nothing was written" in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_without_block_characters_is_no_trouble(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "train", "run", "digits", "--epochs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "next     python -m export" in result.stdout
