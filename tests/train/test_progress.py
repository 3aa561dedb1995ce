"""What people see while a run trains and after it: in a pipe, a notebook cell, a terminal."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.train.histories import make_history
from train import data
from train.__main__ import main
from train.curves import draw_text, show_curves
from train.dataset import Split, make_dataset
from train.device import choose_device
from train.fit import fit
from train.progress import TrainingProgress, summarise
from train.recipes.registry import RECIPES
from train.run import read_metrics, read_run
from train.write import write_run


def test_a_cell_without_a_terminal_gets_plain_lines_and_a_picture(tmp_path: Path) -> None:
    """What the docstring of `train.fit` shows."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=False)
    recipe = replace(RECIPES["blobs"], epochs=3, validation=0.2, patience=3)
    with TrainingProgress(console, epochs=recipe.epochs) as progress:
        fitted = fit(recipe, data_root=Path("data"), choice=choose_device("cpu"), watcher=progress, say=progress.say)
    write_run(tmp_path / "run", fitted.run, fitted.weights, fitted.history, checkpoint=fitted.checkpoint)
    lines = text.getvalue().splitlines()
    assert [line[:11] for line in lines] == ["epoch 1/3  ", "epoch 2/3  ", "epoch 3/3  "]
    assert "train loss" in lines[0]
    assert "validation loss" in lines[0]
    assert "\x1b" not in text.getvalue()
    assert show_curves(tmp_path / "run")._repr_png_().startswith(b"\x89PNG")


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    text = io.StringIO()
    with TrainingProgress(Console(file=text, force_terminal=True), epochs=2) as progress:
        fit(
            replace(RECIPES["blobs"], epochs=2),
            data_root=Path("data"),
            choice=choose_device("cpu"),
            watcher=progress,
        )
    assert "\x1b" in text.getvalue()
    assert "epoch 2/2" in text.getvalue()


def test_summary_says_what_was_kept_where_it_ran_and_how_it_went() -> None:
    recipe = replace(RECIPES["blobs"], epochs=60, validation=0.2, patience=2, learning_rate=2.0)
    with TrainingProgress(Console(file=io.StringIO()), epochs=60) as progress:
        fitted = fit(recipe, data_root=Path("data"), choice=choose_device("cpu"), watcher=progress)
    run = fitted.run
    lines = summarise(fitted, recipe, Path("out")).splitlines()
    loss = run.metrics["validation_loss"]
    assert (
        f"kept     epoch {run.best_epoch}, validation loss {loss:.4f}; stopped early, 2 epochs without a better one"
        in lines
    )
    assert f"trained  {run.epochs_done} of 60 epochs in {run.duration_s:.1f} s on cpu (asked for)" in lines
    assert len([line for line in lines if line.startswith("diagnosis ")]) == 1
    assert any(line.startswith("loss       valid ") for line in lines)


def test_text_curves_show_the_validation_split() -> None:
    history = make_history([2.0, 1.0], [2.0, 1.0], validation=[2.0, 1.5])
    assert draw_text(history).splitlines() == [
        "loss       train   2.0000 █▁   1.0000",
        "loss       test    2.0000 █▁   1.0000",
        "loss       valid   2.0000 █▅   1.5000",
    ]


def test_uneven_classes_are_said_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    split = Split(inputs=inputs, targets=np.repeat([0, 1], [30, 10]).astype(np.int64))
    monkeypatch.setitem(data.DATASETS, "circles", lambda *_: make_dataset("circles", split, split))
    arguments = ["run", "circles-v0", "--epochs", "1", "--out", str(tmp_path / "run"), "--overwrite"]
    assert main(arguments) == 0
    sentence = "note: the classes are uneven (outer circle 30, inner circle 10), and the commonest may be favoured; "
    printed = capsys.readouterr().err
    assert sentence + "give --class-weights balanced, or gather more of the rare ones" in printed.splitlines()
    assert main([*arguments, "--class-weights", "balanced"]) == 0
    assert "note:" not in capsys.readouterr().err
    assert read_run(tmp_path / "run").class_weights == "balanced"


def test_command_takes_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    flags = ["--validation", "0.25", "--patience", "5", "--schedule", "step", "--class-weights", "balanced"]
    assert main(["run", "blobs", "--epochs", "4", "--out", out, *flags]) == 0
    run = read_run(tmp_path / "run")
    assert (run.validation, run.patience, run.schedule, run.class_weights) == (0.25, 5, "step", "balanced")
    assert (run.best_epoch, run.data.validation_rows, run.seed_order, run.momentum) == (4, 200, True, 0.0)
    history = read_metrics(tmp_path / "run")
    assert [metrics.learning_rate for metrics in history] == pytest.approx([0.1, 0.1, 0.07, 0.07])
    assert all(metrics.validation_loss and metrics.validation_top1_accuracy for metrics in history)
    assert "kept     epoch 4, weighted validation loss" in capsys.readouterr().out


def test_patience_without_a_validation_split_is_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "digits", "--patience", "3"]) == 2
    assert capsys.readouterr().err == (
        "error: recipe digits has patience 3 but no validation split, and the test split is not used to choose; "
        "give --validation 0.1\n"
    )


def test_runs_of_before_are_still_read(tmp_path: Path) -> None:
    recipe = replace(RECIPES["blobs"], epochs=2)
    with TrainingProgress(Console(file=io.StringIO()), epochs=2) as progress:
        fitted = fit(recipe, data_root=Path("data"), choice=choose_device("cpu"), watcher=progress)
    write_run(tmp_path / "run", fitted.run, fitted.weights, fitted.history)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    for name in ("seed_order", "momentum", "schedule", "class_weights", "validation", "patience", "best_epoch"):
        del record[name]
    for name in ("validation_rows", "class_counts"):
        del record["data"][name]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    (tmp_path / "run" / "metrics.csv").write_text("\n".join(",".join(line.split(",")[:6]) for line in lines) + "\n")
    old = read_run(tmp_path / "run")
    assert (old.seed_order, old.schedule, old.best_epoch, old.kept_epoch) == (None, "constant", None, 2)
    history = read_metrics(tmp_path / "run")
    assert [metrics.test_loss for metrics in history] == [metrics.test_loss for metrics in fitted.history]
    assert history[0].learning_rate is history[0].validation_loss is None
