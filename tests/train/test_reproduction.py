"""The reproduction: judging, the numbers of ours, the page, and the whole way through the real commands."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import ROOT
from train.__main__ import main as train
from train.commands.reproduce import choose_recipes
from train.loop import Batches, Totals
from train.recipes.recipe import RecipeError
from train.recipes.registry import RECIPES
from train.reproduction.by_batch import BatchWatcher, by_batch, share_of_one_answer
from train.reproduction.examples import EXAMPLES
from train.reproduction.expected import FIGURES
from train.reproduction.judge import (
    NOT_MEASURED,
    Digits,
    Figure,
    FigureError,
    Irreproducible,
    Near,
    Range,
    Rule,
    Spread,
    Verdict,
    Wrong,
    judge,
    write_like,
)
from train.reproduction.mistakes import MISTAKES
from train.reproduction.page import judge_result, write_page
from train.reproduction.processes import StepError, run_module, served
from train.reproduction.repeat import draw_linear, draw_wide
from train.reproduction.result import (
    PACKAGES,
    Machine,
    Result,
    ResultError,
    Step,
    read_result,
    recipe_digest,
    source_digest,
    write_result,
)
from train.reproduction.samples import Answer, differences
from train.reproduction.worked import work_out
from train.run import EpochMetrics

# ---- judging


def figure(rule: Rule, *printed: str) -> Figure:
    quantities = tuple(f"q@{index}" for index in range(len(printed) or 1))
    return Figure(name="some figure", printed=printed, quantities=quantities, rule=rule, source="003 L1")


NEAR = Near(tolerance=0.01, why="reason")
RANGE = Range(low=0.2, high=0.4, why="reason")
SPREAD = Spread(why="reason")
WRONG = Wrong(why="reason")


@pytest.mark.parametrize(
    ("rule", "printed", "ours", "expected"),
    [
        pytest.param(Digits(), "0.3129", 0.312881, "exact", id="digits"),
        pytest.param(Digits(), "0.3129", 0.31296, "missed", id="one-digit-off"),
        pytest.param(Digits(), "-0.0003", -0.00031, "exact", id="negative"),
        pytest.param(Digits(), "0.0000", -0.00001, "exact", id="no-negative-zero"),
        pytest.param(Digits(), "0.3129", math.nan, "missed", id="digits-nan"),
        pytest.param(NEAR, "0.30", 0.301, "exact", id="near-and-every-digit"),
        pytest.param(NEAR, "0.300", 0.309, "band", id="near"),
        pytest.param(NEAR, "0.300", 0.3101, "missed", id="near-above"),
        pytest.param(NEAR, "0.300", 0.2899, "missed", id="near-below"),
        pytest.param(NEAR, "0.300", math.nan, "missed", id="near-nan"),
        pytest.param(NEAR, "0.300", math.inf, "missed", id="near-infinite"),
        pytest.param(RANGE, "about a third", 0.2, "band", id="low-end"),
        pytest.param(RANGE, "about a third", 0.4, "band", id="high-end"),
        pytest.param(RANGE, "about a third", 0.41, "missed", id="above"),
        pytest.param(RANGE, "about a third", 0.19, "missed", id="below"),
        pytest.param(RANGE, "about a third", math.nan, "missed", id="range-nan"),
        pytest.param(RANGE, "0.3", 0.31, "exact", id="range-and-every-digit"),
        pytest.param(Irreproducible(why="reason"), "0.3", 5.0, "not reproducible", id="not-reproducible"),
        pytest.param(WRONG, "0.3", 0.41, "corrected", id="corrected"),
        pytest.param(WRONG, "0.3", 0.31, "missed", id="not-mistaken-at-all"),
        pytest.param(WRONG, "0.3", math.nan, "missed", id="corrected-by-nan"),
    ],
)
def test_each_verdict_can_come_out(rule: Rule, printed: str, ours: float, expected: Verdict) -> None:
    assert judge(figure(rule, printed), {"q@0": ours}).verdict == expected


def test_all_numbers_of_a_figure_count() -> None:
    assert judge(figure(Digits(), "1", "2"), {"q@0": 1, "q@1": 2}).verdict == "exact"
    assert judge(figure(Digits(), "1", "2"), {"q@0": 1, "q@1": 3}).verdict == "missed"
    assert judge(figure(NEAR, "1.00", "2.00"), {"q@0": 1, "q@1": 2.02}).verdict == "missed"


@pytest.mark.parametrize("rule", [Digits(), NEAR, SPREAD, WRONG, RANGE])
def test_what_was_not_measured_is_missed(rule: Rule) -> None:
    judgement = judge(figure(rule, "0.3"), {})
    assert (judgement.verdict, judgement.ours) == ("missed", (NOT_MEASURED,))


@pytest.mark.parametrize(
    ("printed", "expected"),
    [("10", "band"), ("13.1", "missed"), ("6.9", "missed"), ("12.9", "band")],
)
def test_spread_is_three_standard_deviations_about_ours(printed: str, expected: Verdict) -> None:
    assert judge(figure(SPREAD, printed), {"q@0": 9.4}, {"q@0": [9, 10, 11]}).verdict == expected


@pytest.mark.parametrize("seeds", [{}, {"q@0": [9.0, 11.0]}, {"q@0": [math.nan, 10.0, 11.0]}])
def test_a_spread_of_nothing_proves_nothing(seeds: dict[str, list[float]]) -> None:
    assert judge(figure(SPREAD, "10"), {"q@0": 9.4}, seeds).verdict == "missed"


def test_bands_are_stated_with_their_reason() -> None:
    assert judge(figure(NEAR, "0.3"), {"q@0": 0.31}).band == "±0.01: reason"
    assert judge(figure(RANGE, "x"), {"q@0": 0.31}).band == "0.2 to 0.4: reason"
    assert judge(figure(SPREAD, "10"), {"q@0": 9.5}, {"q@0": [9, 10, 11]}).band == "7 to 13: reason"


@pytest.mark.parametrize(
    ("printed", "value", "expected"),
    [("0.31", 0.3, "0.30"), ("3", 2.9, "3"), ("words", 0.00123456, "0.001235"), ("", 127500.4, "127500")],
)
def test_ours_is_written_as_theirs(printed: str, value: float, expected: str) -> None:
    assert write_like(printed, value) == expected


def test_impossible_figures_are_refused() -> None:
    with pytest.raises(FigureError, match=r"has 1 printed numbers, but 2 quantities; give one each"):
        Figure(name="x", printed=("1",), quantities=("a", "b"), rule=Digits(), source="")
    with pytest.raises(FigureError, match=r"prints \('a picture',\), but numbers were expected for Digits"):
        Figure(name="x", printed=("a picture",), quantities=("a",), rule=Digits(), source="")


def test_every_recipe_has_its_figures() -> None:
    assert set(FIGURES) <= set(RECIPES)
    assert {name for name, recipe in RECIPES.items() if "notes" in recipe.notes or recipe.notes_loss} <= set(FIGURES)
    for figures in FIGURES.values():
        assert len({figure.name for figure in figures}) == len(figures)
        assert all(re.match(r"00[0-3] L\d|not in the notes", figure.source) for figure in figures)


# ---- worked examples and mistakes


def test_worked_examples_come_out() -> None:
    values = work_out()
    verdicts = {example.name: judge(example, values).verdict for example in EXAMPLES}
    assert "missed" not in verdicts.values(), verdicts
    assert len(verdicts) == len(EXAMPLES)
    changed = {name: value * 1.1 + 0.6 for name, value in values.items()}
    assert {judge(example, changed).verdict for example in EXAMPLES} <= {"missed", "corrected"}


def test_hand_descent_is_autograds() -> None:
    weight = torch.tensor([1.5, -0.5], dtype=torch.float64, requires_grad=True)
    x, y = torch.tensor([1.0, 2, 3], dtype=torch.float64), torch.tensor([2.0, 4, 6], dtype=torch.float64)
    values = work_out()
    for step in range(5):
        loss = nn.functional.mse_loss(weight[0] * x + weight[1], y)
        assert values[f"descent_loss@{step}"] == pytest.approx(loss.item(), rel=1e-6)
        (gradient,) = torch.autograd.grad(loss, weight)
        weight = (weight - 0.01 * gradient).detach().requires_grad_()
        assert values[f"descent_weight@{step}"] == pytest.approx(weight[0].item(), rel=1e-6)


def test_mistakes_are_written_with_our_numbers() -> None:
    values = work_out()
    from_circles = {"train_loss@3000", "train_loss@3900", "slow_first_loss", "slow_last_loss"}
    for mistake in MISTAKES:
        assert set(mistake.quantities()) <= set(values) | from_circles, mistake
        assert "{" not in mistake.write(values)
    steak = next(mistake.write(values) for mistake in MISTAKES if "0.1979" in mistake.said)
    assert "always pizza is 0.2604 over batches and 0.3333 over photos, always steak 0.1979 and 0.2533" in steak
    assert NOT_MEASURED in next(mistake for mistake in MISTAKES if "slow_first_loss" in mistake.right).write({})


# ---- means over batches


class Given(nn.Module):
    """Logits as they are given."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


def test_mean_over_batches_is_not_that_over_rows() -> None:
    targets = torch.tensor([0, 0, 0, 1])
    rows = Batches(inputs=torch.tensor([[4.0, 0]]).repeat(4, 1), targets=targets)
    means = by_batch(nn.Identity(), Given(), rows, loss="cross-entropy", batch_size=3)
    right, wrong = math.log1p(math.exp(-4)), math.log1p(math.exp(4))
    assert means.share == 0.5
    assert means.loss == pytest.approx((right + wrong) / 2)
    assert share_of_one_answer(targets, 0, batch_size=3) == (0.5, 0.75)
    assert share_of_one_answer(targets, 0, batch_size=4) == (0.75, 0.75)


def test_watcher_takes_batches_out_of_the_sums() -> None:
    watcher = BatchWatcher()
    metrics = EpochMetrics(
        epoch=1, train_loss=0, train_top1_accuracy=0, test_loss=0, test_top1_accuracy=0, duration_s=0
    )
    for _ in range(2):
        totals = Totals(torch.device("cpu"))
        for loss, right, count in ((1.0, 3, 4), (5.0, 0, 1)):
            targets = torch.zeros(count, dtype=torch.int64)
            logits = torch.tensor([[0.0, 1.0]]).repeat(count, 1)
            logits[:right] = torch.tensor([1.0, 0.0])
            totals.add(torch.tensor(loss), logits, targets)
            watcher.batch_done(1, totals, 5)
        watcher.epoch_done(metrics)
    assert [means.loss for means in watcher.epochs] == pytest.approx([3.0, 3.0])
    assert [means.share for means in watcher.epochs] == pytest.approx([0.375, 0.375])


def test_rows_are_drawn_as_the_recipes_are() -> None:
    linear, wide = draw_linear(0), draw_wide(0)
    assert (len(linear.train), len(wide.train), len(wide.test)) == (1000, 20, 100)
    errors = linear.train.inputs @ [[2.0], [-3.4]] + 4.2 - linear.train.targets
    assert 0.009 < errors.std() < 0.011
    assert draw_linear(0).sha256 == linear.sha256 != draw_linear(1).sha256


# ---- answers


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        pytest.param(Answer(label="a", values=(0.9, 0.1)), 0, id="same"),
        pytest.param(Answer(label="a", values=(0.900009, 0.1)), 0, id="rounded"),
        pytest.param(Answer(label="a", values=(0.90002, 0.1)), 1, id="further-off"),
        pytest.param(Answer(label="b", values=(0.9, 0.1)), 1, id="other-label"),
        pytest.param(Answer(label="a", values=(math.nan, 0.1)), 1, id="nan"),
        pytest.param(Answer(label="a", values=(0.9,)), 1, id="fewer"),
    ],
)
def test_a_wrong_answer_is_counted(actual: Answer, expected: int) -> None:
    assert differences([actual], [Answer(label="a", values=(0.9, 0.1))]) == expected
    assert differences([], [actual]) == 1


# ---- results


MACHINE = Machine(python="3.11.7", torch="2.15.0", system="Linux x86_64", instructions="AVX512", cores=2)
HOUSES = RECIPES["house-prices"]
TABLE = dict(enumerate([3, 1, 0, 2, 0, 1, 4, 0, 1, 3, 0, 1]))
PRICES = dict(enumerate([127500, 106000, 178100, 140000]))
RESULT = Result(
    recipe="house-prices",
    recipe_sha256=recipe_digest(HOUSES),
    source_sha256="ab" * 32,
    source_revision="0123456789abcdef-dirty",
    machine=MACHINE,
    steps=(
        Step(name="train", passed=True, note="", duration_s=2.0),
        Step(name="parity", passed=True, note="passed", duration_s=1.0),
        Step(name="serve", passed=True, note="HTTP: 4 rows", duration_s=0.5),
    ),
    values={
        **{f"table@{index}": value for index, value in TABLE.items()},
        **{f"target@{index}": value for index, value in PRICES.items()},
    },
    seeds={},
)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results" / "house-prices.json"
    assert read_result(path) is None
    write_result(path, RESULT)
    assert read_result(path) == RESULT
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(ResultError, match=r"x\.json is no result .*, but one of `reproduce` was expected; delete it"):
        read_result(path)
    with pytest.raises(ResultError, match=r"x\.json/y\.json cannot be written \(.*\); free the place or give another"):
        write_result(path / "y.json", RESULT)


def test_digests_follow_recipe_and_source(tmp_path: Path) -> None:
    assert recipe_digest(HOUSES) == recipe_digest(replace(HOUSES))
    assert recipe_digest(HOUSES) != recipe_digest(replace(HOUSES, seed=43))
    (tmp_path / "train" / "reproduction").mkdir(parents=True)
    module = tmp_path / "train" / "loop.py"
    module.write_text("a = 1\n")
    before = source_digest(tmp_path)
    (tmp_path / "train" / "reproduction" / "page.py").write_text("only shows\n")
    assert source_digest(tmp_path) == before
    module.write_text("a = 2\n")
    assert source_digest(tmp_path) != before


def test_recipes_are_chosen_once_each_and_slow_ones_by_name_only() -> None:
    assert [recipe.name for recipe in choose_recipes(())] == [n for n in RECIPES if n != "fashion-softmax-1000"]
    assert [recipe.name for recipe in choose_recipes(("blobs", "digits", "blobs"))] == ["blobs", "digits"]
    with pytest.raises(RecipeError, match=r"recipe 'blob' does not exist, .* did you mean blobs\?"):
        choose_recipes(("blob",))


# ---- the page


def test_page_of_a_fixed_result() -> None:
    judged = judge_result(HOUSES, RESULT)
    assert judged.passed
    page = write_page([judged], work_out())
    assert page == write_page([judge_result(HOUSES, RESULT)], work_out())
    assert "1 recipes in 0.1 minutes, 0.0 of them training." in page
    assert "Machine: Python 3.11.7, torch 2.15.0, Linux x86_64, AVX512, 2 cores." in page
    assert "Source: 0123456789ab, changed since, digest abababababab." in page
    assert "| `house-prices` | yes | yes | - | 2 |  |  | 1 | 2 | 4 |" in page
    assert "train 2.0 s; parity 1.0 s (passed); serve 0.5 s (HTTP: 4 rows)." in page
    assert "| prices | 127500 106000 178100 140000 | 127500 106000 178100 140000 | *exact* |  | 001 L239-342 |" in page
    assert "```" not in page


def test_page_of_a_missed_figure() -> None:
    judged = judge_result(HOUSES, replace(RESULT, values=RESULT.values | {"target@0": 127499}))
    assert not judged.passed
    assert "| 127499 106000 178100 140000 | **missed** |" in write_page([judged], work_out())


def test_page_of_a_failed_step() -> None:
    failed = Step(name="batch", passed=False, note="not equal: CSV to CSV, 1 of 4 rows", duration_s=1.0)
    judged = judge_result(HOUSES, replace(RESULT, steps=(*RESULT.steps, failed)))
    assert not judged.passed
    assert "| `house-prices` | yes | yes | **no** |" in write_page([judged], work_out())


# ---- the steps


def test_a_step_that_fails_says_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(
        StepError, match=r"python -m train run nothing exited 2 \(error: recipe 'nothing' .*\); all it said is in .*log"
    ):
        run_module(["train", "run", "nothing"], tmp_path / "log")


def test_a_server_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StepError, match=r"the server of .*nothing did not come up \(error: .*nothing.*\); see "),
        served(tmp_path / "nothing", tmp_path / "log"),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nothing"], "error: recipe 'nothing' does not exist, but one of the", id="recipe"),
        pytest.param(["fashion-v0", "--data-root", "file"], "error: fashion-v0: python -m train run", id="no-data"),
    ],
)
def test_trouble_is_one_sentence_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("no directory")
    monkeypatch.chdir(tmp_path)
    assert train(["reproduce", *arguments, "--report", "page.md"]) == 2
    assert message in capfd.readouterr().err


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the packages: results are good for one source, and nobody changes this one meanwhile."""
    folder = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def command_of(source: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "train", "reproduce", *arguments, "--report", "page.md"]
    return command, {**os.environ, "PYTHONPATH": str(source)}


def reproduced(source: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command, environment = command_of(source, *arguments)
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_digits_and_a_table_go_all_the_way_and_are_not_done_twice(source: Path, tmp_path: Path) -> None:
    names = "house-prices", "digits"
    first = reproduced(source, *names, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == "2 recipes in page.md\n"
    for step in ("train", "export", "parity", "serve", "batch", "measure"):
        assert len(re.findall(rf"^(?:digits|house-prices) +{step} +\d+\.\d s", first.stderr, re.MULTILINE)) == 2
    assert "CSV to CSV: 4 rows, PARQUET to PARQUET: 4 rows" in first.stderr
    assert "PNG to PARQUET: 64 rows" in first.stderr
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| `digits` | yes | yes | yes |" in page
    assert str(tmp_path) not in page
    folder = tmp_path / "reproduction" / "results"
    written = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    second = reproduced(source, *names, cwd=tmp_path)
    assert second.returncode == 0
    assert len(re.findall(r"is done already, from the same recipe and source", second.stderr)) == 2
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == written
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page


def test_what_is_done_is_judged_again(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "reproduction" / "results" / "house-prices.json"
    good = replace(RESULT, source_sha256=source_digest(source))
    write_result(path, good)
    kept = reproduced(source, "house-prices", cwd=tmp_path)
    assert (kept.returncode, kept.stdout) == (0, "1 recipes in page.md\n")
    assert kept.stderr == "house-prices             is done already, from the same recipe and source\n"
    write_result(path, replace(good, values=good.values | {"target@0": 127499}))
    missed = reproduced(source, "house-prices", cwd=tmp_path)
    assert missed.returncode == 1
    assert "not as stated: house-prices; see page.md" in missed.stderr


def test_interrupt_keeps_what_is_done(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "reproduction" / "results" / "house-prices.json"
    write_result(path, replace(RESULT, source_sha256=source_digest(source)))
    command, environment = command_of(source, "house-prices", "line-linear")
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "is done already" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "stopped; what is done is kept in reproduction, and is not done again" in said
    assert list(path.parent.iterdir()) == [path]
    assert not (tmp_path / "reproduction" / "runs" / "line-linear").exists()
