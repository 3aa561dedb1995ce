"""The run directory: written whole, read back as it was, and never written over something else."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from train.curves import Curves, draw_text, show_curves
from train.device import choose_device
from train.exchange import exchange
from train.fit import Fitted, fit
from train.loop import Totals
from train.recipes.registry import RECIPES
from train.run import EpochMetrics, RunError, load_network, read_metrics, read_run
from train.write import check_out, write_run

FILES = ["curves.png", "metrics.csv", "run.json", "state_dict.pt"]


class Silence:
    def batch_done(self, epoch: int, totals: Totals, rows: int) -> None:
        pass

    def epoch_done(self, metrics: EpochMetrics) -> None:
        pass


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    recipe = replace(RECIPES["digits"], epochs=2)
    result = fit(recipe, data_root=Path("unused"), choice=choose_device("cpu"), watcher=Silence())
    assert result is not None
    return result


def write(path: Path, fitted: Fitted, *, overwrite: bool = False, finished: bool = True) -> None:
    write_run(path, replace(fitted.run, finished=finished), fitted.weights, fitted.history, overwrite=overwrite)


def test_run_is_read_back_as_it_was(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "deep" / "down" / "run"
    write(path, fitted)
    assert sorted(entry.name for entry in path.iterdir()) == FILES
    assert [entry.name for entry in path.parent.iterdir()] == ["run"]
    run = read_run(path)
    assert run == fitted.run
    assert tuple(read_metrics(path)) == fitted.history
    network = load_network(path, run)
    assert all(torch.equal(tensor, fitted.weights[name]) for name, tensor in network.state_dict().items())
    assert all(
        isinstance(value, torch.Tensor) for value in torch.load(path / "state_dict.pt", weights_only=True).values()
    )


def test_record_says_what_was_done(fitted: Fitted) -> None:
    run = fitted.run
    recipe = RECIPES["digits"]
    assert (run.recipe, run.task, run.labels) == ("digits", "classification", tuple("0123456789"))
    assert (run.factory, run.factory_args) == (recipe.factory, recipe.factory_args)
    assert (run.preprocessing, run.mean, run.std) == (recipe.preprocessing, recipe.mean, recipe.std)
    assert (run.epochs, run.epochs_done, run.finished, run.seed, run.threads) == (2, 2, True, 42, 1)
    assert (run.batch_size, run.learning_rate, run.optimizer) == (32, 0.001, "adam")
    assert (run.device, run.device_reason, run.parameters) == ("cpu", "asked for", 121_994)
    assert (run.data.name, run.data.root, run.data.train_rows, run.data.test_rows) == ("digits", "unused", 1437, 360)
    assert run.metrics["test_top1_accuracy"] == fitted.history[-1].test_top1_accuracy
    assert run.metrics["chance_top1_accuracy"] == 37 / 360
    assert run.versions["torch"]
    assert run.duration_s > sum(metrics.duration_s for metrics in fitted.history)


def test_finished_run_is_replaced_only_when_told_so(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    path.mkdir()  # an empty directory is free
    write(path, fitted)
    with pytest.raises(RunError, match="run holds a finished run; give --overwrite to replace it, or another --out"):
        write(path, fitted)
    changed = replace(fitted, run=replace(fitted.run, seed=7))
    write(path, changed, overwrite=True)
    assert read_run(path).seed == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_stopped_run_is_replaced_without_asking(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    write(path, fitted, finished=False)
    write(path, fitted)
    assert read_run(path).finished


def test_what_is_no_run_is_left_alone(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "photos"
    path.mkdir()
    (path / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(RunError, match="photos holds something that is no run, and it is left alone"):
        write(path, fitted, overwrite=True)
    assert [entry.name for entry in path.iterdir()] == ["cat.jpg"]


def test_stray_file_in_a_run_is_not_lost(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    write(path, fitted)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"run holds notes\.txt, which is no part of a run and would be lost; move it"):
        write(path, fitted, overwrite=True)
    assert (path / "notes.txt").read_text() == "mine"


def test_out_that_is_a_file_or_below_one(tmp_path: Path, fitted: Fitted) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(RunError, match="file is a file or a link, but a directory for the run was expected"):
        check_out(file, overwrite=True)
    with pytest.raises(RunError, match="file cannot be written to, but the run is to stand below it"):
        write(file / "run", fitted)
    assert file.read_text() == "text"


def test_run_without_an_epoch_is_refused(tmp_path: Path, fitted: Fitted) -> None:
    with pytest.raises(RunError, match="has no epoch, but at least one was expected"):
        write_run(tmp_path / "run", fitted.run, fitted.weights, [])
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_run_and_nothing_else(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    write(path, fitted)
    unwritable = replace(fitted, weights={"weight": lambda: None})  # type: ignore[dict-item]
    with pytest.raises(Exception, match="pickle"):
        write(path, replace(unwritable, run=replace(fitted.run, seed=7)), overwrite=True)
    assert read_run(path).seed == 42
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_reading_what_is_damaged(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    with pytest.raises(RunError, match="run does not exist, but a run directory was expected"):
        read_metrics(path)
    write(path, fitted)
    whole = (path / "metrics.csv").read_bytes()
    (path / "metrics.csv").write_text("epoch,train_loss\n1,0.5\n")
    with pytest.raises(RunError, match=r"metrics.csv is not valid: .*missing required field"):
        read_metrics(path)
    (path / "metrics.csv").write_text("epoch,train_loss\n")
    with pytest.raises(RunError, match=r"metrics.csv holds no epoch"):
        read_metrics(path)
    for damaged in (b"\xff\x00\xfe\x80" * 9, whole[:-30], whole + whole.splitlines()[-1] + b"\n"):
        (path / "metrics.csv").write_bytes(damaged)
        with pytest.raises(RunError, match=r"metrics.csv (is not valid: |holds [13] epochs, but run.json records 2)"):
            read_metrics(path)
    (path / "metrics.csv").write_bytes(whole.replace(b"\n2,", b"\n3,"))
    with pytest.raises(RunError, match=r"metrics.csv is not valid: line 3 is not epoch 2 with finite figures"):
        read_metrics(path)
    (path / "metrics.csv").unlink()
    (path / "metrics.csv").mkdir()
    with pytest.raises(RunError, match=r"metrics.csv is not valid: .*; train again"):
        read_metrics(path)
    (path / "metrics.csv").rmdir()
    with pytest.raises(RunError, match=r"metrics.csv is missing, but every run has one"):
        read_metrics(path)


@pytest.mark.parametrize("content", [b"", b"\x80garbage", None], ids=["empty", "garbage", "truncated"])
def test_damaged_weights_are_one_sentence(content: bytes | None, tmp_path: Path, fitted: Fitted) -> None:
    write(tmp_path / "run", fitted)
    file = tmp_path / "run" / "state_dict.pt"
    file.write_bytes(file.read_bytes()[:-300] if content is None else content)
    with pytest.raises(RunError) as caught:
        load_network(tmp_path / "run", fitted.run)
    expected = f"{file} is damaged: it is no file of tensors that can be read; train again"
    assert str(caught.value) == expected


def test_figures_that_could_not_be_read_again_are_not_written(tmp_path: Path, fitted: Fitted) -> None:
    bad = replace(fitted, run=replace(fitted.run, metrics={"test_loss": float("nan")}))
    with pytest.raises(RunError, match=r"run has metrics test_loss nan, but a finite number was expected"):
        write(tmp_path / "run", bad)
    bad = replace(fitted, history=(replace(fitted.history[0], test_loss=float("inf")), *fitted.history[1:]))
    with pytest.raises(RunError, match=r"run has epoch 1 test_loss inf, but a finite number was expected"):
        write(tmp_path / "run", bad)
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_run_of_ours_can_be_replaced(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    write(path, fitted)
    (path / "run.json").write_text('{"recipe": "digits", "metrics": {"test_loss": null}}')
    with pytest.raises(RunError, match=r"run.json is not valid: .*; train again, with --overwrite to replace it, or"):
        write(path, fitted)
    write(path, fitted, overwrite=True)
    assert read_run(path) == fitted.run
    (path / "run.json").write_text("{}")
    (path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"run holds notes\.txt, which is no part of a run"):
        write(path, fitted, overwrite=True)
    (path / "state_dict.pt").unlink()
    with pytest.raises(RunError, match="run holds something that is no run, and it is left alone"):
        write(path, fitted, overwrite=True)


def test_what_systems_leave_in_a_folder_is_no_hindrance(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / ".DS_Store").write_text("")
    write(path, fitted)
    (path / "Thumbs.db").write_text("")
    write(path, fitted, overwrite=True)
    assert sorted(entry.name for entry in path.iterdir()) == FILES


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_out_where_nothing_can_be_made_is_refused_before_training() -> None:
    with pytest.raises(RunError, match=r"/proc cannot be written to \(.*\), but the run is to stand below it; give"):
        check_out(Path("/proc/nothing/run"), overwrite=False)


def interrupted(step: Callable[..., object], *, after: int) -> Callable[..., object]:
    """Return a step that a signal is taken in as it returns for the so-manieth time."""
    calls = []

    def run(*arguments: object) -> object:
        result = step(*arguments)
        calls.append(arguments)
        if len(calls) == after:
            raise KeyboardInterrupt
        return result

    return run


@pytest.mark.parametrize("place", ["exchange", "first-rename", "second-rename", "put-back"])
def test_a_signal_within_a_save_loses_neither_run(
    place: str, tmp_path: Path, fitted: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    write(path, fitted)
    fresh = replace(fitted, run=replace(fitted.run, seed=7))
    if place == "exchange":
        monkeypatch.setattr("train.write.exchange", interrupted(exchange, after=1))
    else:
        monkeypatch.setattr("train.write.exchange", lambda *_: False)
        rename = interrupted(Path.rename, after=2 if place == "second-rename" else 1)
        if place == "put-back":  # a second signal, as the old run is being put back
            rename = interrupted(rename, after=1)
        monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        write(path, fresh, overwrite=True)
    monkeypatch.undo()
    assert read_run(path).seed in {42, 7}
    load_network(path, read_run(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_curves_are_a_picture_in_a_notebook_and_text_in_a_terminal(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    write(path, fitted)
    curves = show_curves(str(path))
    assert isinstance(curves, Curves)
    png = curves._repr_png_()
    assert png == (path / "curves.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (1200, 480)
    assert str(curves) == draw_text(fitted.history)
    assert "png=" not in repr(curves)
    for content in (None, b"", b"no picture", png[:500]):
        (path / "curves.png").unlink(missing_ok=True)
        if content is not None:
            (path / "curves.png").write_bytes(content)
        assert show_curves(path).png == png
    (path / "curves.png").unlink()
    (path / "curves.png").mkdir()
    assert show_curves(path).png == png


def metrics(epoch: int, loss: float, accuracy: float) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        train_loss=loss,
        train_top1_accuracy=accuracy,
        test_loss=loss / 2,
        test_top1_accuracy=accuracy,
        duration_s=1.0,
    )


def test_text_curves() -> None:
    assert draw_text([metrics(1, 2.0, 0.5), metrics(2, 1.5, 0.75), metrics(3, 1.0, 1.0)]).splitlines() == [
        "loss       train   2.0000 █▆▃   1.0000",
        "loss       test    1.0000 ▃▂▁   0.5000",
        "accuracy % train    50.00 ▁▅█   100.00",
        "accuracy % test     50.00 ▁▅█   100.00",
    ]
    assert draw_text([metrics(1, 0.0, 0.5)]).splitlines()[0] == "loss       train   0.0000 ▁   0.0000"
    long = draw_text([metrics(epoch, 100.0 - epoch, 0.5) for epoch in range(1, 101)]).splitlines()
    assert {len(line) for line in long} == {17 + 8 + 1 + 48 + 1 + 8}


def test_record_is_json_for_people(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "run"
    write(path, fitted)
    text = (path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text)["recipe"] == "digits"
    assert text.startswith('{\n  "recipe": "digits",\n')
