"""The measurement of false alarms: one recipe the whole way, what is kept, what counts, and the page."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]
import pytest

from evaluate.alarms import examine as examination
from evaluate.alarms import run
from evaluate.alarms.examine import MOST_EPOCHS, examine
from evaluate.alarms.page import headline, page
from evaluate.alarms.result import AlarmsError, Graph, Result, Settings, current_settings, read_result, write_result
from evaluate.in_process import FoundGraph, Judged, judge_here, run_here
from evaluate.resealed import drop_files, replace_file
from serve.bundle import read_bundle
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES, find_recipe
from train.reproduction.result import recipe_digest

Evaluate = Callable[..., tuple[int, str, str]]
FORMATS = ("onnx", "torchscript", "exported-program", "onnx-fp16", "onnx-int8", "triton")
SETTINGS = current_settings(FORMATS)
RIGHT = Graph(format="onnx", precision="float32", verdict="pass", ratio=0.5, reason=None)
LOSSY = Graph(
    format="onnx-int8",
    precision="int8",
    verdict="fail",
    ratio=None,
    reason="accuracy drops by 3.00 points",
    drop=0.03,
    flip_share=0.05,
    sqnr_db=18.0,
)
RESULT = Result(
    recipe="linreg",
    seed=0,
    settings=SETTINGS,
    recipe_sha256=recipe_digest(RECIPES["linreg"]),
    source_revision="now",
    epochs=3,
    planned=3,
    exit_code=0,
    exact_exit_code=0,
    graphs=(RIGHT, replace(RIGHT, format="triton", copy=True)),
)
ALARM = replace(
    RESULT,
    seed=1,
    exit_code=1,
    exact_exit_code=1,
    graphs=(replace(RIGHT, verdict="fail", ratio=1.4, reason="prediction on noise: error is too large"),),
)


@pytest.fixture(scope="module")
def linreg(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A recipe that went the whole way, and the folder where it did."""
    folder = tmp_path_factory.mktemp("alarms")
    recipe = find_recipe("linreg")
    return examine(recipe, 3, folder, data_root=folder, settings=SETTINGS), folder


def test_a_recipe_goes_the_whole_way_in_every_format(linreg: tuple[Result, Path]) -> None:
    result, folder = linreg
    assert result.failure is None
    assert [graph.format for graph in result.graphs] == list(FORMATS)
    assert result.passed
    assert (result.exit_code, result.exact_exit_code) == (0, 0)
    exact = {graph.format: graph.ratio for graph in result.graphs if graph.precision == "float32"}
    assert all(ratio is not None and 0 < ratio <= 1 for ratio in exact.values())
    assert [graph.format for graph in result.graphs if graph.copy] == ["triton"]
    assert all(graph.sqnr_db is not None for graph in result.graphs if graph.precision != "float32")
    assert read_bundle(folder / "bundle").manifest.provenance.seed == 3


def test_a_wrong_graph_would_be_an_alarm(linreg: tuple[Result, Path]) -> None:
    _, folder = linreg
    bundle = folder / "bundle"
    other = bundle / "graph.int8.onnx"
    assert judge_here(bundle, "--trust", "--data-root", str(folder)).code == 0
    drop_files(bundle, lambda entry: entry.format == "triton")  # it must be a copy of graph.onnx
    replace_file(bundle, "graph.onnx", other.read_bytes())
    judged = judge_here(bundle, "--trust", "--data-root", str(folder))
    assert judged.code == 1
    assert (judged.reason or "").startswith("graph.onnx: prediction on ")
    drop_files(bundle, lambda entry: entry.path == "graph.onnx")
    assert judge_here(bundle, "--trust", "--data-root", str(folder)).code == 0


def test_a_drop_of_int8_leaves_the_exit_code_of_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []

    def judge(bundle: Path, *_: str) -> Judged:
        precisions = {entry.precision for entry in read_bundle(bundle).manifest.files} - {None}
        seen.append(precisions)
        code = int("int8" in precisions)
        graphs = [
            FoundGraph(
                graph=entry.path,
                precision=entry.precision,
                verdict="fail" if entry.precision == "int8" else "pass",
                reason="it drops" if entry.precision == "int8" else None,
                comparisons=(),
            )
            for entry in read_bundle(bundle).manifest.files
            if entry.format == "onnx"
        ]
        return Judged(code=code, reason=None, checks=(), graphs=tuple(graphs), duration_s=0.0)

    monkeypatch.setattr(examination, "judge_here", judge)
    settings = current_settings(("onnx", "onnx-int8"))
    result = examine(find_recipe("linreg"), 0, tmp_path, data_root=tmp_path, settings=settings)
    assert seen == [{"float32", "int8"}, {"float32"}]
    assert (result.exit_code, result.exact_exit_code, result.passed) == (1, 0, True)
    assert [graph.verdict for graph in result.graphs] == ["pass", "fail"]


def test_a_command_that_is_stopped_stops_its_caller() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_here(lambda _: 130)


def test_training_that_fails_is_named(tmp_path: Path) -> None:
    recipe = replace(find_recipe("linreg"), name="linregg")
    result = examine(recipe, 0, tmp_path, data_root=tmp_path, settings=SETTINGS)
    assert result.failure is not None
    assert result.failure.startswith("train: error: recipe 'linregg' does not exist")
    assert not result.passed


def test_caps_are_of_recipes_that_have_more_epochs() -> None:
    assert all(epochs < RECIPES[name].epochs for name, epochs in MOST_EPOCHS.items())


@pytest.mark.parametrize(
    ("result", "passed"),
    [
        pytest.param(RESULT, True, id="right"),
        pytest.param(replace(RESULT, exit_code=1, graphs=(RIGHT, LOSSY)), True, id="int8 drops"),
        pytest.param(ALARM, False, id="graph"),
        pytest.param(replace(ALARM, graphs=(replace(RIGHT, verdict="unproven"),)), False, id="unproven"),
        pytest.param(replace(RESULT, exact_exit_code=1), False, id="exit code"),
        pytest.param(replace(RESULT, wrong=("labels: other ones",)), False, id="check"),
        pytest.param(replace(RESULT, failure="export: error"), False, id="failure"),
    ],
)
def test_only_full_precision_decides(result: Result, passed: bool) -> None:
    assert result.passed is passed


def test_what_passed_is_kept_and_what_did_not_with_another_source_is_examined_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []

    def examined(recipe: Recipe, seed: int, folder: Path, *, settings: Settings, **_: object) -> Result:
        assert folder.is_dir()
        made.append((recipe.name, seed))
        return replace(RESULT, recipe=recipe.name, seed=seed, settings=settings, recipe_sha256=recipe_digest(recipe))

    monkeypatch.setattr(run, "examine", examined)
    monkeypatch.setattr(run, "source_revision", lambda: "now")
    write_result(tmp_path, RESULT)
    write_result(tmp_path, ALARM)
    write_result(tmp_path, replace(ALARM, seed=2, source_revision="before"))
    write_result(tmp_path, replace(RESULT, seed=3, recipe_sha256="0" * 64))
    (tmp_path / "linreg-seed-4.json").write_text("{", encoding="utf-8")
    write_result(tmp_path, replace(RESULT, seed=5, failure="export: a crash"))

    def go(*, again: bool = False, seeds: int = 6) -> run.Found:
        recipes = (RECIPES["linreg"], RECIPES["fashion-mlp"])
        return run.examine_all(recipes, seeds, tmp_path, data_root=tmp_path, settings=SETTINGS, again=again)

    found = go()
    assert made == [("linreg", seed) for seed in (2, 3, 4, 5)]
    assert [result.seed for result in found.results] == list(range(6))
    assert found.missing == {"fashion-mlp": "fashion-mnist is not there"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    go(again=True, seeds=1)
    assert made[4:] == [("linreg", 0)]


def test_what_was_being_examined_when_it_stopped_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> Result:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "examine", stop)
    with pytest.raises(KeyboardInterrupt):
        run.examine_all((RECIPES["linreg"],), 1, tmp_path, data_root=tmp_path, settings=SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_alarms_are_counted_with_their_bound() -> None:
    assert headline([RESULT]).startswith("0 false alarms in 1 right float32 graphs, with 95 % confidence at most 97.50")
    assert headline([RESULT, ALARM]).startswith("1 false alarms in 2 right float32 graphs")
    assert headline([RESULT, ALARM]).endswith("exit code 0 on 1 of 2 bundles.")
    assert headline([]) == "No graph was judged."


def test_the_page_names_alarms_and_calls_a_drop_a_drop() -> None:
    lossy = replace(RESULT, recipe="circles-v2", exit_code=1, graphs=(RIGHT, LOSSY), epochs=2, planned=1000)
    refused = replace(RESULT, recipe="blobs", refused={"onnx-fp16": "error: onnx-fp16 cannot hold it"})
    failed = replace(RESULT, recipe="digits", graphs=(), exact_exit_code=None, failure="train: error: a loss is NaN")
    text = page([RESULT, ALARM, lossy, refused, failed], settings=SETTINGS, missing={"fashion-mlp": "it is not there"})
    rows = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("| `")}
    assert "| `linreg` | 2 | 3 | **1.40, 1 fail** |" in text
    assert "| `circles-v2` | 1 | 2 of 1000 | 0.50 |" in text
    assert rows["circles-v2"].endswith("| 0 / 1 | 3.00 | 5.00 | 18 |")
    assert "- onnx-int8 of circles-v2, seed 0; of seed 0: fail, accuracy drops by 3.00 points" in text
    assert "- onnx-fp16 of blobs is not written: error: onnx-fp16 cannot hold it" in text
    assert f"onnxruntime {onnxruntime.__version__};" in text
    alarms = text.split("## False alarms\n")[1].split("##")[0].strip()
    assert alarms == "- linreg-seed-1: onnx: fail, prediction on noise: error is too large"
    assert "- fashion-mlp: it is not there\n- digits-seed-0: train: error: a loss is NaN" in text


def test_the_command_measures_and_goes_on(evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("alarms", "--recipes", "linreg", "--seeds", "1", "--formats", "onnx", "torchscript")
    options = (*options, "--out", str(tmp_path / "alarms"), "--data-root", str(tmp_path))
    code, out, _ = evaluate(*options, "--page", str(tmp_path / "alarms.md"))
    assert code == 0
    assert out.startswith("0 false alarms in 2 right float32 graphs")
    assert "| `linreg` | 1 | 3 |" in (tmp_path / "alarms.md").read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "alarms").iterdir()] == ["linreg-seed-0.json"]

    def nothing(*_: object, **__: object) -> None:
        pytest.fail("it was there")

    monkeypatch.setattr(run, "examine", nothing)
    code, out, err = evaluate(*options, "--json", "-")
    assert code == 0
    assert json.loads(out)["results"][0]["recipe"] == "linreg"
    assert "kept" in err
    saved = read_result(tmp_path / "alarms", "linreg-seed-0")
    assert saved is not None
    write_result(tmp_path / "alarms", replace(saved, exact_exit_code=1, source_revision=run.source_revision()))
    assert evaluate(*options)[0] == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(("--recipes", "linregg"), "recipe 'linregg' does not exist", id="recipe"),
        pytest.param(("--seeds", "0"), "--seeds is 0, but at least 1 is needed", id="seeds"),
        pytest.param(
            ("--formats", "triton"), "--formats is triton, but onnx is what the others are made", id="formats"
        ),
        pytest.param(
            ("--recipes", "fashion-mlp"), "the data of fashion-mlp is not under nowhere, so there is nothing", id="data"
        ),
    ],
)
def test_trouble_is_one_sentence(options: tuple[str, ...], sentence: str, evaluate: Evaluate, tmp_path: Path) -> None:
    code, _, err = evaluate("alarms", "--data-root", "nowhere", "--out", str(tmp_path / "alarms"), *options)
    assert code == 2
    assert sentence in err


def test_a_place_that_cannot_be_written_to_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AlarmsError, match=r"cannot be a folder \(.*\), but results stand there; give another --out"):
        run.examine_all((RECIPES["linreg"],), 1, tmp_path / "file", data_root=tmp_path, settings=SETTINGS)


def test_recipes_without_a_name_are_trouble(evaluate: Evaluate) -> None:
    told = "--recipes is given without a name, but at least one was expected; give digits, say, or leave it out for all"
    assert evaluate("alarms", "--recipes") == (2, "", f"error: {told}\n")
