"""Going on with a run: the same weights as without the break, whatever broke it; and what is refused."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.train.histories import Quiet
from train.__main__ import main
from train.checkpoint import SETTINGS, read_earlier
from train.device import choose_device
from train.exchange import exchange
from train.fit import Fitted, fit
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES
from train.run import EpochMetrics, Run, RunError, read_metrics, read_run
from train.run_place import RUN, rescue_run
from train.write import write_run

DIGITS = replace(RECIPES["digits"], epochs=3, batch_size=128)


class StopWithin(Quiet):
    """Asks for a stop in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches = 0

    def batch_done(self, epoch: int, totals: object, rows: int) -> None:  # noqa: ARG002 - the signature of a watcher
        self.batches += epoch == self.epoch

    def __call__(self) -> bool:
        return self.batches >= 2


def train_recipe(recipe: Recipe, **keywords: object) -> Fitted:
    fitted = fit(recipe, data_root=Path("unused"), choice=choose_device("cpu"), **{"watcher": Quiet(), **keywords})
    assert fitted is not None
    return fitted


def write(path: Path, fitted: Fitted) -> Path:
    write_run(path, fitted.run, fitted.weights, fitted.history, checkpoint=fitted.checkpoint, overwrite=True)
    return path


def timeless(history: tuple[EpochMetrics, ...] | list[EpochMetrics]) -> list[EpochMetrics]:
    return [replace(metrics, duration_s=0) for metrics in history]


def same(left: Fitted, right: Fitted) -> bool:
    return left.weights.keys() == right.weights.keys() and all(
        torch.equal(tensor, right.weights[name]) for name, tensor in left.weights.items()
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"epochs": 2}, id="adam-dropout-augmentation"),
        pytest.param(
            {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1, "schedule": "step"}, id="momentum-step"
        ),
        pytest.param({"epochs": 2, "schedule": "cosine", "weight_decay": 0.01}, id="cosine-weight-decay"),
        pytest.param({"schedule": "plateau", "validation": 0.2, "patience": 2}, id="plateau-patience"),
        pytest.param({"epochs": 2, "seed_order": False, "class_weights": "balanced"}, id="order-from-the-network"),
    ],
)
def test_a_run_stopped_within_an_epoch_ends_as_if_it_were_not(changes: dict[str, object], tmp_path: Path) -> None:
    recipe = replace(DIGITS, **changes)
    whole = train_recipe(recipe)
    watcher = StopWithin(2)
    stopped = train_recipe(recipe, watcher=watcher, stop=watcher)
    assert (stopped.run.epochs_done, stopped.run.finished) == (1, False)
    earlier = read_earlier(write(tmp_path / "run", stopped))
    torch.manual_seed(0)  # nothing may hang on where the generators happen to stand
    resumed = train_recipe(recipe, earlier=earlier)
    assert same(resumed, whole)
    assert timeless(resumed.history) == timeless(whole.history)
    ours, theirs = (replace(fitted.run, duration_s=0) for fitted in (resumed, whole))
    assert ours == theirs
    assert resumed.run.duration_s > stopped.run.duration_s
    # a state that is not restored shows
    stale = replace(
        earlier, checkpoint=replace(earlier.checkpoint, state={**earlier.checkpoint.state, **fresh(recipe)})
    )
    assert not same(train_recipe(recipe, earlier=stale), whole)


def fresh(recipe: Recipe) -> dict[str, object]:
    """Return generators' states as they are before any epoch."""
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    return {"order": generator.get_state(), "cpu": generator.get_state()}


def test_a_finished_run_is_trained_further(tmp_path: Path) -> None:
    recipe = replace(DIGITS, epochs=1)
    first = write(tmp_path / "run", train_recipe(recipe))
    further = train_recipe(DIGITS, earlier=read_earlier(first))
    assert same(further, train_recipe(DIGITS))
    assert [metrics.epoch for metrics in further.history] == [1, 2, 3]


def test_runs_are_saved_on_the_way(tmp_path: Path) -> None:
    saved: list[Fitted] = []
    train_recipe(DIGITS, save=saved.append, save_every_s=0.0)
    assert [(fitted.run.epochs_done, fitted.run.finished) for fitted in saved] == [(1, False), (2, False), (3, False)]
    assert same(train_recipe(DIGITS, earlier=read_earlier(write(tmp_path / "run", saved[1]))), train_recipe(DIGITS))
    saved.clear()
    train_recipe(DIGITS, save=saved.append, save_every_s=3600.0)
    assert saved == []


# ---- the notes' rounds

CIRCLES_ROUND_4 = """
0 .01672 99.88 .03363 100.00
100 .01578 99.88 .03232 100.00
200 .01494 100.00 .03117 100.00
300 .01418 100.00 .03017 99.50
400 .01350 . .02926 .
500 .01288 . .02841 .
600 .01231 . .02750 .
700 .01180 . .02666 .
800 .01132 . .02589 .
900 .01089 100.00 .02517 99.50
"""


def as_printed(row: list[str], metrics: EpochMetrics) -> list[str]:
    figures = (metrics.train_loss, metrics.train_top1_accuracy, metrics.test_loss, metrics.test_top1_accuracy)
    cells = [f"{metrics.train_loss:.5f}", f"{figures[1]:.2%}", f"{metrics.test_loss:.5f}", f"{figures[3]:.2%}"]
    shown = [cell.removeprefix("0").removesuffix("%") for cell in cells]
    return [row[0], *("." if cell == "." else ours for cell, ours in zip(row[1:], shown, strict=True))]


def test_circles_in_four_rounds_are_those_of_the_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert main(["run", "circles-v2", "--epochs", "1000", "--out", out]) == 0
    ends = {2000: ".04182 99.88 .06591 100.00", 3000: ".01673 99.88 .03364 100.00", 4000: ".01049 100.00 .02451 99.50"}
    for epochs, printed in ends.items():
        assert main(["run", "circles-v2", "--resume", "--epochs", str(epochs), "--out", out]) == 0
        assert f"epochs {epochs - 999} to {epochs} on cpu" in capsys.readouterr().err
        row = ["end", *printed.split()]
        assert as_printed(row, read_metrics(Path(out))[-1]) == row
    history = read_metrics(Path(out))
    for row in (line.split() for line in CIRCLES_ROUND_4.split("\n") if line):
        assert as_printed(row, history[3000 + int(row[0])]) == row
    assert [metrics.epoch for metrics in history] == list(range(1, 4001))


def test_a_hundred_more_epochs_of_the_line(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["run", "line-parameters", "--out", str(out)]) == 0
    before = read_run(out)
    assert main(["run", "line-parameters", "--resume", "--epochs", "200", "--out", str(out)]) == 0
    weights = torch.load(out / "state_dict.pt", weights_only=True)
    assert {name: round(value.item(), 4) for name, value in weights.items()} == {"weights": 0.6990, "bias": 0.3093}
    assert read_run(out).device_reason == before.device_reason != "asked for"


# ---- kill -9

SCRIPT = """
import os, signal, sys
from pathlib import Path
import train.write
from train.commands.run import RunCommand, run_recipe
from train.progress import TrainingProgress
from train.run import read_run

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_within_epoch_3(self, epoch, totals, rows):
    if epoch == 3 and totals.rows > 300:
        kill()

def rename_and_kill(self, target):
    rename(self, target)
    if self == out:
        kill()

def exchange_and_kill(one, other):
    assert exchange(one, other)
    kill()

out = Path(sys.argv[1])
rename, exchange = Path.rename, train.write.exchange
if sys.argv[2] == "within-an-epoch":
    TrainingProgress.batch_done = kill_within_epoch_3
elif sys.argv[2] == "as-two-runs-change-places":
    train.write.exchange = exchange_and_kill
else:
    train.write.exchange = lambda one, other: False
    Path.rename = rename_and_kill
command = RunCommand(recipe="digits", out=out, epochs=4, batch_size=256, device="cpu")
sys.exit(run_recipe(command, save_every_s=0.0))
"""


@pytest.fixture(scope="module")
def never_killed() -> Fitted:
    return train_recipe(replace(RECIPES["digits"], epochs=4, batch_size=256))


def can_exchange(folder: Path) -> bool:
    for name in ("one", "other"):
        (folder / name).mkdir()
    return exchange(folder / "one", folder / "other")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("place", ["within-an-epoch", "between-two-renames", "as-two-runs-change-places"])
def test_killed_run_is_finished_as_if_it_were_not(place: str, never_killed: Fitted, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "digits"
    if place == "as-two-runs-change-places" and not can_exchange(tmp_path):
        pytest.skip("two directories cannot be exchanged here")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(out), place]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if place == "between-two-renames":
        assert not out.exists()
    else:
        assert (read_run(out).epochs_done, read_run(out).finished) == (2, False)
    assert main(["run", "digits", "--resume", "--out", str(out)]) == 0
    assert [entry.name for entry in out.parent.iterdir()] == ["digits"]
    assert (read_run(out).epochs_done, read_run(out).finished) == (4, True)
    weights = torch.load(out / "state_dict.pt", weights_only=True)
    assert all(torch.equal(tensor, never_killed.weights[name]) for name, tensor in weights.items())
    assert timeless(read_metrics(out)) == timeless(never_killed.history)


@pytest.fixture(scope="module")
def short() -> Fitted:
    return train_recipe(replace(RECIPES["line-parameters"], epochs=2))


def left_aside(folder: Path, name: str, fitted: Fitted, *, seed: int, age: int) -> None:
    run = write(folder / name, replace(fitted, run=replace(fitted.run, seed=seed)))
    (folder / RUN.marker).write_text("ours")
    os.utime(run / "run.json", (2e9 - age, 2e9 - age))


def test_the_newest_run_that_kills_left_aside_is_put_back(short: Fitted, tmp_path: Path) -> None:
    left_aside(tmp_path / ".run.run-a_b1c2d3", "old", short, seed=1, age=300)
    left_aside(tmp_path / ".run.run-b_b1c2d3", "old", short, seed=2, age=200)
    left_aside(tmp_path / ".run.run-c_b1c2d3", "new", short, seed=3, age=100)
    left_aside(tmp_path / ".run.run-d_b1c2d3", "old", short, seed=4, age=400)
    half = tmp_path / ".run.run-00000000" / "new"
    half.mkdir(parents=True)
    (half.parent / RUN.marker).write_text("ours")
    (half / "run.json").write_text('{"recipe": ')
    rescue_run(tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    assert read_run(tmp_path / "run").seed == 3


def test_folders_that_only_bear_such_a_name_are_left_alone(short: Fitted, tmp_path: Path) -> None:
    (tmp_path / ".run-thesis01").mkdir()
    (tmp_path / ".run.run-thesis01").mkdir()
    (tmp_path / ".run.run-thesis01" / "thesis.tex").write_text("years of work")
    (tmp_path / ".run.run-aaaaaaaa").write_text("a file")
    left_aside(tmp_path / ".run.run-b_b1c2d3", "old", short, seed=2, age=200)
    mine = tmp_path / "run"
    mine.mkdir()
    (mine / "photo").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    rescue_run(mine)  # not even what is ours goes, while no run stands there
    assert sorted(tmp_path.rglob("*")) == before
    (mine / "photo").unlink()
    (mine / ".DS_Store").write_text("")
    rescue_run(mine)
    assert read_run(mine).seed == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        *(".run-thesis01", ".run.run-aaaaaaaa", ".run.run-thesis01", "run")
    ]


# ---- what is refused


def resume(out: Path, *arguments: str) -> int:
    return main(["run", "line-parameters", "--resume", "--out", str(out), *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            [], "has done 2 of 2 epochs, so there is nothing left to train; give a larger --epochs", id="done"
        ),
        pytest.param(["--epochs", "1"], "has done 2 of 1 epochs, so there is nothing left to train", id="fewer"),
        pytest.param(
            ["--epochs", "9", "--seed", "7"],
            "was trained with seed 42, but 7 is asked for; leave it out, or train again without --resume",
            id="seed",
        ),
        pytest.param(["--learning-rate", "1"], "was trained with learning_rate 0.01, but 1.0 is asked for", id="rate"),
        pytest.param(["--threads", "2"], "was trained with threads 1, but 2 is asked for", id="threads"),
        pytest.param(
            ["--schedule", "step"], "was trained with schedule constant, but step is asked for", id="schedule"
        ),
        pytest.param(["--validation", "0.2"], "was trained with validation 0.0, but 0.2 is asked for", id="validation"),
        pytest.param(["--patience", "2"], "has patience 2 but no validation split", id="patience"),
        pytest.param(["--overwrite"], "--resume goes on with the run in --out, but --overwrite replaces it", id="both"),
    ],
)
def test_what_does_not_go_on_is_refused(
    arguments: list[str], message: str, short: Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = write(tmp_path / "run", short)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert resume(out, *arguments) == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    assert printed.startswith("error: ")
    assert message in printed
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_equal_settings_may_be_repeated(short: Fitted, tmp_path: Path) -> None:
    out = write(tmp_path / "run", short)
    assert resume(out, "--epochs", "3", "--seed", "42", "--learning-rate", "0.01", "--threads", "1") == 0
    assert (read_run(out).epochs, read_run(out).epochs_done) == (3, 3)


def test_another_recipe_is_refused(short: Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = write(tmp_path / "run", short)
    assert main(["run", "circles-v2", "--resume", "--epochs", "5", "--out", str(out)]) == 2
    assert "was trained from recipe line-parameters, not circles-v2; give another --out" in capsys.readouterr().err


def test_nothing_to_go_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(tmp_path / "run") == 2
    assert "run does not exist, but a run directory was expected; make one with" in capsys.readouterr().err


def record(out: Path, change: Callable[[Run], Run], short: Fitted) -> Path:
    return write(out, replace(short, run=change(short.run)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda run: replace(run, schedule="cosine"),
            "has schedule cosine, planned for 2 epochs, but 9 are asked for, which would have changed every one",
            id="cosine",
        ),
        pytest.param(
            lambda run: replace(run, epochs=8, validation=0.2, patience=1, best_epoch=1),
            "stopped early after epoch 2, when its patience of 1 was spent; train again with a larger --patience",
            id="patience-spent",
        ),
        pytest.param(
            lambda run: replace(run, device="cuda"),
            "was trained on cuda, but cpu is asked for, which draws other random numbers; give --device cuda",
            id="device",
        ),
        pytest.param(
            lambda run: replace(run, data=replace(run.data, sha256="0" * 64)),
            "but {out} was trained on 000000000000…; give the --data-root it was trained from, or train again",
            id="data",
        ),
        pytest.param(
            lambda run: replace(run, epochs_done=1),
            "metrics.csv holds 2 epochs, but run.json records 1 and keeps epoch 1; train again",
            id="mixed-up",
        ),
    ],
)
def test_records_that_are_not_gone_on_from(
    change: Callable[[Run], Run], message: str, short: Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = record(tmp_path / "run", change, short)
    assert resume(out, "--epochs", "9", "--device", "cpu") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message.format(out=out) in line


def test_patience_that_was_spent_in_the_last_planned_epoch_is_spent(tmp_path: Path) -> None:
    recipe = replace(RECIPES["weight-decay-0"], validation=0.25, patience=3, epochs=60, learning_rate=0.02)
    early = train_recipe(recipe)
    planned = train_recipe(replace(recipe, epochs=early.run.epochs_done))
    assert not planned.run.stopped_early
    earlier = read_earlier(write(tmp_path / "run", planned))
    with pytest.raises(RunError, match=r"stopped early after epoch \d+, when its patience of 3 was spent; train again"):
        train_recipe(recipe, earlier=earlier)
    one_less = train_recipe(replace(recipe, epochs=early.run.epochs_done - 1))
    further = train_recipe(recipe, earlier=read_earlier(write(tmp_path / "less", one_less)))
    assert same(further, early)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def overwrite_with_text(file: Path) -> None:
    file.write_text("no checkpoint")


def drop_state(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    del content["state"]["optimizer"]
    torch.save(content, file)


def other_network(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    content["network"]["bias"] = torch.zeros(3)
    torch.save(content, file)


def newer(file: Path) -> None:
    torch.save({**torch.load(file, weights_only=True), "format": 2}, file)


def code(file: Path) -> None:
    torch.save({"format": print}, file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, empty, overwrite_with_text, drop_state, other_network, newer, code])
def test_a_damaged_checkpoint_is_one_sentence(
    damage: Callable[[Path], None], short: Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = write(tmp_path / "run", short)
    damage(out / "checkpoint.pt")
    assert resume(out, "--epochs", "5") == 2
    [line] = capsys.readouterr().err.splitlines()  # and no announcement of a training before it
    assert line.startswith("error: ")
    assert "weights_only" not in line
    assert "checkpoint.pt is damaged (" in line
    assert line.endswith("; train again without --resume")
    assert read_run(out).epochs_done == 2


def test_a_run_without_a_checkpoint_is_whole_but_ends_there(short: Fitted, tmp_path: Path) -> None:
    write_run(tmp_path / "run", short.run, short.weights, short.history)
    with pytest.raises(RunError, match=r"checkpoint.pt is missing, so training cannot go on from there; train again"):
        read_earlier(tmp_path / "run")


def test_every_setting_that_decides_the_weights_is_compared() -> None:
    assert {"seed", "seed_order", "batch_size", "learning_rate", "optimizer", "momentum", "weight_decay"} <= set(
        SETTINGS
    )
    assert {"schedule", "class_weights", "validation", "patience", "augmentation", "initialisation"} <= set(SETTINGS)
    assert {"factory", "factory_args", "loss", "mean", "std", "preprocessing", "threads"} <= set(SETTINGS)
    assert not {"epochs", "name", "title", "notes", "data"} & set(SETTINGS)
