"""Saving while training: one training a place, no training lost to a save that fails, and what is said then."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from train.commands.run import RunCommand, run_recipe
from train.progress import TrainingProgress
from train.run import EpochMetrics, RunError, read_run
from train.run_place import hold_run


def train_line(out: Path, *, epochs: int = 3) -> int:
    command = RunCommand(recipe="line-parameters", out=out, epochs=epochs, device="cpu")
    return run_recipe(command, save_every_s=0.0)


def do_after_epoch(epoch: int, action: object, monkeypatch: pytest.MonkeyPatch) -> None:
    done = TrainingProgress.epoch_done

    def epoch_done(self: TrainingProgress, metrics: EpochMetrics) -> None:
        done(self, metrics)
        if metrics.epoch == epoch:
            action()

    monkeypatch.setattr(TrainingProgress, "epoch_done", epoch_done)


def test_a_save_that_fails_on_the_way_is_said_once_and_the_run_is_rescued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    (tmp_path / "run-rescued").mkdir()
    do_after_epoch(2, lambda: (out / "notes.txt").write_text("mine"), monkeypatch)
    assert train_line(out, epochs=5) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "training goes on" in line] == [
        f"note: {out} holds notes.txt, which is no part of a run and would be lost; move it or give another --out; "
        f"training goes on, and {out} is as it was last written"
    ]
    rescued = tmp_path / "run-rescued-2"
    assert f"the run stands in {rescued} instead, and {out} is as it was last written" in lines[-1]
    assert (read_run(rescued).epochs_done, read_run(rescued).finished) == (5, True)
    assert read_run(out).epochs_done == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run", "run-rescued", "run-rescued-2"]


def test_where_nothing_can_be_written_it_is_said_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RunError("run cannot be written (No space left on device)")

    do_after_epoch(2, lambda: monkeypatch.setattr("train.write.write_run", full), monkeypatch)
    assert train_line(tmp_path / "run") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(f"nothing could be written beside it either, and {tmp_path / 'run'} is as it was last written")
    assert read_run(tmp_path / "run").epochs_done == 1


def test_a_second_signal_while_the_run_is_written_at_last_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train import saving

    save = saving.Saving.save_at_last

    def interrupted(self: saving.Saving, fitted: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        save(self, fitted)

    monkeypatch.setattr(saving.Saving, "save_at_last", interrupted)
    assert train_line(tmp_path / "run") == 0
    assert read_run(tmp_path / "run").finished


def test_one_place_takes_one_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs" / "line"
    with hold_run(out):
        assert train_line(out) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {out} is being trained by another process; wait for it to end, or give another")
        with hold_run(tmp_path / "runs" / "other"):
            pass
    assert list(tmp_path.iterdir()) == []
    assert train_line(out) == 0
    assert [entry.name for entry in out.parent.iterdir()] == ["line"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_training_that_died_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from train.run_place import hold_run\n"
        "with hold_run(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], cwd=ROOT, check=False)
    assert [entry.name for entry in tmp_path.iterdir()] == [".run.run-lock"]
    with hold_run(tmp_path / "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_the_test_split_that_is_no_number_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for recipe, rate in (("line-parameters", 1e38), ("circles-v2", 1e30)):
        command = RunCommand(recipe=recipe, out=tmp_path / recipe, epochs=1, learning_rate=rate, device="cpu")
        assert run_recipe(command) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("error: the test loss of epoch 1 is ")
        assert line.endswith(f"but a finite number was expected; give a --learning-rate below {rate:g}")
    assert list(tmp_path.iterdir()) == []
