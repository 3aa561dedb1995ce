"""The studies in their quick form: what each measures is true, and the verdict follows from it."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.conftest import run_command
from train.dataset import MissingDataError
from train.studies.dataloader import Images, InMemory, resize
from train.studies.dropout import rank_of_wrong
from train.studies.initialisation import count_different
from train.studies.k_fold import split_folds
from train.studies.registry import STUDIES, StudyError, carry_out
from train.studies.result import Curve, StudyResult, as_verdict, draw_png, show_result, write_plot

PNG = b"\x89PNG"
RESULT = StudyResult(
    title="one against two",
    claim="two is more",
    columns=("what", "value"),
    rows=(("one", 1), ("two", 2.00001)),
    finding="it is",
    verdict="holds",
    curves=(Curve(label="value", x=(1, 2), y=(1, 2)),),
    axes=("x", "y"),
)


def quick(name: str) -> StudyResult:
    return carry_out(name, quick=True, data_root=Path("nowhere"))


def cells(result: StudyResult, column: str) -> dict[object, float]:
    index = result.columns.index(column)
    return {row[0]: float(row[index]) for row in result.rows}


def test_huber_is_slower_only_by_its_factor_and_robust_to_outliers() -> None:
    result = quick("huber")
    errors = {row[:2]: row[2:] for row in result.rows}
    assert errors["Huber, rate 0.03", "clean"][0] > 3 * errors["MSE, rate 0.03", "clean"][0]
    assert errors["Huber, rate 0.06", "clean"][0] < 3 * errors["MSE, rate 0.03", "clean"][0]
    assert errors["Huber, rate 0.06", "5 % outliers"][-1] < errors["MSE, rate 0.03", "5 % outliers"][-1] / 2
    assert result.verdict == "holds in part"
    assert "Huber is not slower in itself" in result.finding


def test_sum_at_a_tenth_of_the_rate_is_the_mean() -> None:
    result = quick("reduction")
    mean, tenth, same = (row[2:-1] for row in result.rows)
    assert tenth == pytest.approx(mean, rel=1e-9)
    assert same != pytest.approx(mean, rel=1e-3)


def test_weight_decay_gives_the_norms_of_the_notes() -> None:
    result = quick("weight-decay")
    assert cells(result, "norm, mean") == pytest.approx({0.0: 13.4, 3.0: 0.40}, rel=0.12)
    assert cells(result, "test loss")[3.0] < 2 < 100 < cells(result, "test loss")[0.0]
    assert result.verdict == "holds"


def test_equal_hidden_units_stay_equal_until_dropout_parts_them() -> None:
    result = quick("initialisation")
    different = cells(result, "different units of 16")
    assert different["constant"] == 1
    assert different["constant, dropout 0.5"] == different["default"] == 16
    assert cells(result, "accuracy, epoch 8")["default"] > 0.6
    assert result.verdict == "holds"


@pytest.mark.parametrize(("change", "different"), [(0.0, 1), (1e-6, 1), (1e-2, 2)])
def test_units_that_differ_by_rounding_are_the_same(change: float, different: int) -> None:
    weight = torch.ones(3, 4)
    weight[1, 2] += change
    assert count_different(weight) == different


def test_one_addition_is_faster_than_a_loop() -> None:
    result = quick("vectorise")
    assert cells(result, "ratio")[10_000] > 10


def test_degree_1_underfits_and_degree_20_overfits_few_rows() -> None:
    result = quick("polynomial")
    losses = {row[:2]: row[2:] for row in result.rows}
    assert losses[1, 1000][0] > 0.1
    assert losses[3, 21][1] < 0.02
    assert losses[20, 21][0] < 1e-4 < 0.1 < losses[20, 21][1]
    assert losses[20, 1000][1] < 0.02
    assert result.verdict == "holds"


def test_folds_estimate_better_than_one_held_out_part_and_the_training_loss() -> None:
    result = quick("k-fold")
    training, held_out, folds = (row[1] for row in result.rows)
    assert 1 < folds < held_out
    assert training > 1


def test_every_row_is_validated_once() -> None:
    folds = list(split_folds(11, 3))
    assert np.sum([validation for _, validation in folds], axis=0).tolist() == [1] * 11
    assert all((train != validation).all() for train, validation in folds)


@pytest.mark.parametrize("folds", [1, 12])
def test_folds_that_cannot_be_are_refused(folds: int) -> None:
    with pytest.raises(ValueError, match=rf"^folds is {folds}, but from 2 to the 11 rows were expected$"):
        list(split_folds(11, folds))


def test_dropout_narrows_the_gap_and_tells_doubt() -> None:
    result = quick("dropout")
    gaps = [float(row[2]) - float(row[1]) for row in result.rows]
    assert gaps[-1] < gaps[0]
    assert cells(result, "doubt finds errors")[0.5] > 0.7


@pytest.mark.parametrize(
    ("doubt", "share"), [([1.0, 2, 3, 4], 1.0), ([4.0, 3, 2, 1], 0.0), ([1.0, 3, 2, 4], 0.75), ([1.0, 1, 1, 1], 0.5)]
)
def test_doubt_is_ranked_over_all_pairs(doubt: list[float], share: float) -> None:
    assert rank_of_wrong(torch.tensor([True, True, False, False]), torch.tensor(doubt)) == share
    assert rank_of_wrong(torch.tensor([True] * 4), torch.tensor(doubt)) == 0.5


def test_training_accuracy_leads_more_with_every_epoch() -> None:
    result = quick("epochs")
    assert result.rows[-1][0] == 100
    first, last = (row[2] - row[4] for row in (result.rows[0], result.rows[-1]))
    assert last > first + 0.01


def test_epochs_says_where_its_data_should_be(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"^Fashion-MNIST is not in .*raw; give --data-root where it is"):
        carry_out("epochs", quick=False, data_root=tmp_path)


def test_every_way_of_reading_is_timed() -> None:
    result = quick("dataloader")
    rates = {row[:2]: row[-1] for row in result.rows}
    assert len(rates) == 2 * (2 * 2 + 1)
    assert all(0 < rate < float("inf") for rate in rates.values())  # which is faster is for a quiet machine to say


def test_every_arm_reads_the_same_pixels() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    resized, targets = np.stack([resize(image) for image in raw]), np.arange(5)
    online, offline = Images(raw, targets, resize=True), Images(resized, targets, resize=False)
    images, order = next(iter(InMemory(resized, targets, 5)))
    assert sorted(order.tolist()) == [0, 1, 2, 3, 4]
    for row, index in zip(images, order.tolist(), strict=True):
        assert torch.equal(online[index][0], row)
        assert torch.equal(offline[index][0], row)
        assert online[index][1] == offline[index][1] == index


def test_a_result_is_shown_with_claim_finding_and_verdict() -> None:
    console = Console(width=100, record=True, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(show_result(RESULT))
    lines = [line.strip() for line in capture.get().splitlines() if line.strip()]
    assert lines[0] == "one against two"
    assert re.split(r"\s+", lines[-4]) == ["two", "2"]
    assert lines[-3:] == ["the notes: two is more", "measured: it is", "the claim: holds"]


def test_a_plot_is_written_whole(tmp_path: Path) -> None:
    path = write_plot(RESULT, tmp_path / "new" / "folder")
    assert path.read_bytes() == draw_png(RESULT)
    assert path.read_bytes().startswith(PNG)
    assert [file.name for file in path.parent.iterdir()] == ["plot.png"]


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [((True, True), "holds"), ((True, False), "holds in part"), ((False, False), "does not hold")],
)
def test_a_verdict_follows_from_its_parts(parts: tuple[bool, ...], verdict: str) -> None:
    assert as_verdict(*parts) == verdict


def test_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^a claim needs at least one part to judge$"):
        as_verdict()
    with pytest.raises(ValueError, match=r"^curve 'c' has 1 x and 2 y, but as many of each, and at least one, were"):
        Curve(label="c", x=(1,), y=(1, 2))
    with pytest.raises(ValueError, match=r"^row \(1, 2\) has 2 cells, but there are 1 columns$"):
        StudyResult(
            title="", claim="", columns=("a",), rows=((1, 2),), finding="", verdict="holds", curves=(), axes=("", "")
        )
    with pytest.raises(StudyError, match=rf"^study 'no' does not exist, but one of {', '.join(STUDIES)} was expected$"):
        quick("no")


def test_the_command_lists_every_study(tmp_path: Path) -> None:
    lines = run_command("train", "study", "list", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(STUDIES)


def test_the_command_prints_a_table_and_writes_a_plot(tmp_path: Path) -> None:
    result = run_command("train", "study", "reduction", "--quick", cwd=tmp_path)
    assert "the claim: holds" in result.stdout
    assert (tmp_path / "studies" / "reduction" / "plot.png").read_bytes().startswith(PNG)
    assert "studies/reduction/plot.png" in result.stderr


def test_the_command_names_the_studies_there_are(tmp_path: Path) -> None:
    result = run_command("train", "study", "no", cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert result.stderr == f"error: study 'no' does not exist, but one of {', '.join(STUDIES)} was expected\n"
