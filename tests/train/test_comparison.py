"""Runs side by side: figures, best ones, notes, the chart, and what cannot be compared."""

import io
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.train.histories import Quiet
from train.__main__ import main
from train.commands.compare import _table
from train.comparison import BEST, ComparedRun, compare_runs
from train.comparison_chart import ChartRun, _draw_curves
from train.device import choose_device
from train.fit import Fitted, fit
from train.recipes.registry import RECIPES
from train.run import Run, RunError
from train.write import write_run


def trained(name: str, **changes: object) -> Fitted:
    recipe = replace(RECIPES[name], **changes)
    fitted = fit(recipe, data_root=Path("unused"), choice=choose_device("cpu"), watcher=Quiet())
    assert fitted is not None
    return fitted


@pytest.fixture(scope="module")
def fitted() -> dict[str, Fitted]:
    return {
        "circles-v0": trained("circles-v0"),
        "circles-v2": trained("circles-v2"),
        "blobs": trained("blobs"),
        "line": trained("line-parameters"),
        "deep": trained("line-linear", epochs=100),
        "patient": trained("blobs", validation=0.2, patience=2, epochs=60, learning_rate=2.0),
    }


@pytest.fixture(scope="module")
def written(fitted: dict[str, Fitted], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, with steady durations."""
    folder = tmp_path_factory.mktemp("written")
    for index, (name, result) in enumerate(fitted.items()):
        run = replace(result.run, duration_s=1.0 + index)
        write_run(folder / name, run, result.weights, result.history)
    return folder


@pytest.fixture
def place(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may spoil, in the current directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written, tmp_path / "runs")
    return tmp_path / "runs"


def test_figures_are_those_of_the_runs(place: Path, fitted: dict[str, Fitted]) -> None:
    comparison = compare_runs([place / "circles-v0", str(place / "circles-v2")])
    first, second = comparison.runs
    assert (first.run, first.recipe, first.epochs, first.parameters) == ("circles-v0", "circles-v0", 100, 21)
    assert second.test_top1_accuracy == fitted["circles-v2"].history[-1].test_top1_accuracy
    assert second.test_loss == fitted["circles-v2"].history[-1].test_loss
    assert (first.duration_s, second.duration_s, first.device) == (1.0, 2.0, "cpu")
    assert (first.diagnosis.verdict, second.diagnosis.verdict) == ("underfitting", "still improving")
    assert comparison.best == {
        "test_top1_accuracy": ("circles-v2",),
        "test_loss": ("circles-v2",),
        "parameters": ("circles-v0",),
    }  # and none for the time: they have other numbers of epochs
    assert [note.partition(",")[0] for note in comparison.notes] == ["a star at a test figure is no basis for a choice"]
    assert BEST.keys() <= set(ComparedRun.__dataclass_fields__)


def test_early_stopping_compares_the_epoch_kept(place: Path, fitted: dict[str, Fitted]) -> None:
    patient = compare_runs([place / "patient", place / "blobs"]).runs[0]
    run = fitted["patient"].run
    assert run.best_epoch < run.epochs_done
    assert (patient.best_epoch, patient.epochs) == (run.best_epoch, run.epochs_done)
    assert patient.test_loss == run.metrics["test_loss"] == fitted["patient"].history[run.best_epoch - 1].test_loss


def test_the_chart_is_a_picture_in_a_notebook(place: Path) -> None:
    three_rows = compare_runs([place / "circles-v0", place / "circles-v2"])._repr_png_()
    two_rows = compare_runs([place / "line", place / "deep"])._repr_png_()
    for png in (three_rows, two_rows):
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
    heights = [struct.unpack(">II", png[16:24])[1] for png in (three_rows, two_rows)]
    assert heights == [1080, 672]


def test_different_data_is_noted_and_has_no_best(place: Path) -> None:
    comparison = compare_runs([place / "circles-v2", place / "blobs"])
    assert [note.split(", so")[0] for note in comparison.notes] == [
        "the runs have different tasks (binary-classification, classification)",
        "the runs have different data (blobs, circles)",
        "the runs have different losses (binary-cross-entropy, cross-entropy)",
    ]
    assert comparison.best.keys() == {"parameters"}


def changed(place: Path, fitted: Fitted, name: str, change: Callable[[Run], Run]) -> Path:
    write_run(place / name, change(fitted.run), fitted.weights, fitted.history)
    return place / name


@pytest.mark.parametrize(
    ("change", "note"),
    [
        pytest.param(
            lambda run: replace(run, data=replace(run.data, sha256="f" * 64)),
            "the runs have different data (circles ",
            id="same-name-other-data",
        ),
        pytest.param(
            lambda run: replace(run, device="cuda"),
            "the runs have different devices (cpu, cuda), so their durations are of different machines",
            id="device",
        ),
        pytest.param(lambda run: replace(run, finished=False), "1 of the runs is not finished", id="stopped"),
    ],
)
def test_notes(change: Callable[[Run], Run], note: str, place: Path, fitted: dict[str, Fitted]) -> None:
    other = changed(place, fitted["circles-v2"], "other", change)
    [found] = compare_runs([place / "circles-v2", other]).notes
    assert found.startswith(note)
    assert note not in str(compare_runs([place / "circles-v2", place / "circles-v0"]).notes)


def test_runs_of_one_name_are_told_apart_and_equal_ones_have_no_best(place: Path, fitted: dict[str, Fitted]) -> None:
    twin = changed(place / "again", fitted["blobs"], "blobs", lambda run: replace(run, duration_s=9.0))
    comparison = compare_runs([place / "blobs", twin])
    assert [run.run for run in comparison.runs] == [str(place / "blobs"), str(twin)]
    assert comparison.best == {"duration_s": (str(place / "blobs"),)}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(["line"], "1 run is given, but at least two were expected to compare; name another one", id="one"),
        pytest.param(["line", "line/../line"], "is given twice, but different runs were expected", id="twice"),
        pytest.param(
            ["line", "circles-v2"],
            "line is a regression, but circles-v2 is a binary-classification, and they have no figure in common",
            id="kinds",
        ),
        pytest.param(["line", "nothing"], "nothing does not exist, but a run directory was expected", id="missing"),
    ],
)
def test_what_cannot_be_compared(
    names: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunError, match=message):
        compare_runs([place / name for name in names])
    assert main(["compare", *(str(place / name) for name in names)]) == 2
    assert message in capsys.readouterr().err
    assert not Path("comparison.png").exists()


def test_command_prints_a_table_and_writes_the_chart(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "runs/circles-v0", "runs/circles-v2"]) == 0
    printed = capsys.readouterr()
    lines = [line.split() for line in printed.out.splitlines() if line.strip()]
    assert lines[0] == [
        "run",
        "recipe",
        "epochs",
        "test",
        "accuracy",
        "test",
        "loss",
        "parameters",
        "seconds",
        "device",
        "diagnosis",
    ]
    assert lines[2] == ["circles-v0", "circles-v0", "100", "46.50%", "0.6954", "21*", "1.0", "cpu", "underfitting"]
    assert lines[3] == [
        "circles-v2",
        "circles-v2",
        "1000",
        "86.50%*",
        "0.5744*",
        "151",
        "2.0",
        "cpu",
        "still",
        "improving",
    ]
    assert "circles-v0: underfitting: no better than always naming the commonest class" in printed.out
    assert printed.err.splitlines()[0].startswith("note: a star at a test figure is no basis for a choice")
    assert printed.err.splitlines()[1:] == ["chart    comparison.png"]
    assert Path("comparison.png").read_bytes() == compare_runs(["runs/circles-v0", "runs/circles-v2"]).png
    assert sorted(entry.name for entry in Path().iterdir()) == ["comparison.png", "runs"]


def test_table_fits_into_80_columns(place: Path, fitted: dict[str, Fitted]) -> None:
    long = changed(
        place, fitted["circles-v2"], "fashion-tinyvgg-augmented-2", lambda run: replace(run, parameters=10**7)
    )
    comparison = compare_runs([place / "circles-v0", long, place / "circles-v2"])
    console = Console(file=io.StringIO(), width=80)
    console.print(_table(comparison, narrow=True))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for whole in ("circles-v0", "tinyvgg-", "86.50%*", "10,000,000", "underfitting", "improving"):
        assert whole in text


def test_command_for_machines(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "runs/line", "runs/deep", "--json", "--out", "chart.png"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in content["runs"]] == ["line", "deep"]
    assert content["runs"][0]["test_top1_accuracy"] is None
    assert content["runs"][0]["diagnosis"]["verdict"] == "still improving"
    assert set(content["best"]) == {"test_loss", "duration_s"}
    assert Path("chart.png").is_file()


def test_validation_figures_are_shown_and_starred_where_all_runs_have_them(
    place: Path, fitted: dict[str, Fitted], capsys: pytest.CaptureFixture[str]
) -> None:
    def worse(run: Run) -> Run:
        return replace(run, duration_s=99.0)

    result = fitted["patient"]
    history = [replace(metrics, validation_loss=1e6, validation_top1_accuracy=0.1) for metrics in result.history]
    write_run(place / "worse", worse(result.run), result.weights, history)
    comparison = compare_runs([place / "patient", place / "worse"])
    assert {figure: comparison.best[figure] for figure in ("validation_loss", "validation_top1_accuracy")} == {
        "validation_loss": ("patient",),
        "validation_top1_accuracy": ("patient",),
    }
    assert comparison.best["duration_s"] == ("patient",)
    assert main(["compare", "runs/patient", "runs/worse"]) == 0
    header = next(line for line in capsys.readouterr().out.splitlines() if line.strip()).split()
    assert header[3:9] == ["validation", "accuracy", "validation", "loss", "test", "accuracy"]
    console = Console(file=io.StringIO(), width=80)
    console.print(_table(comparison, narrow=True))
    assert max(map(len, console.file.getvalue().splitlines())) <= 80
    assert "…" not in console.file.getvalue()
    other_rows = changed(place, result, "other-rows", lambda run: replace(run, seed=7))
    comparison = compare_runs([place / "worse", other_rows])
    assert "different validation rows (0.2 by seed 42, 0.2 by seed 7)" in comparison.notes[0]
    assert not {"validation_loss", "validation_top1_accuracy"} & comparison.best.keys()
    assert "validation_loss" not in compare_runs([place / "patient", place / "blobs"]).best


@pytest.mark.parametrize(("names", "scale"), [(("line", "deep"), "linear"), (("brief", "deep"), "log")])
def test_short_runs_beside_long_ones_can_be_read(names: tuple[str, str], scale: str, fitted: dict[str, Fitted]) -> None:
    from matplotlib.figure import Figure

    histories = {"line": fitted["line"].history, "deep": fitted["deep"].history, "brief": fitted["line"].history[:4]}
    runs = [ChartRun(name=name, run=fitted["deep"].run, history=histories[name]) for name in names]
    axes = Figure().subplots(1, 2)
    _draw_curves(axes, runs, "_loss", "loss")
    assert {panel.get_xscale() for panel in axes} == {scale}


def test_chart_makes_its_folder_and_replaces_nothing_but_a_png(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "runs/line", "runs/deep", "--out", "new/folder/chart.png"]) == 0
    assert main(["compare", "runs/line", "runs/deep", "--out", "new/folder/chart.png"]) == 0
    capsys.readouterr()
    Path("README.md").write_text("words")
    Path("words.png").write_text("words")
    for out, message in {
        "README.md": "README.md does not end in .png, but pictures are PNG; give a name that does",
        "words.png": "words.png is no PNG, and it is left alone; give another --out",
        "runs": "runs is a directory, but a file for the picture was expected; add a name to it",
        "README.md/chart.png": "picture README.md/chart.png cannot be written",
    }.items():
        assert main(["compare", "runs/line", "runs/deep", "--out", out]) == 2
        assert message in capsys.readouterr().err
    assert Path("README.md").read_text() == Path("words.png").read_text() == "words"
    assert sorted(entry.name for entry in Path().iterdir()) == ["README.md", "new", "runs", "words.png"]
