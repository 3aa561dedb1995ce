"""The measurement of what parity catches: its rules, its test for harmless faults, its journal, and its command."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluate.faults import run
from evaluate.faults.bundled import Bundled
from evaluate.faults.case import Case, FaultsError, Journal, current_settings
from evaluate.faults.graphs import GraphMaker, onnx_candidates, trace
from evaluate.faults.ground import Ground, prepare
from evaluate.faults.harmless import GraphTest, module_is_harmless
from evaluate.faults.in_bundle import BUNDLE_FAULTS, BUNDLE_VARIANTS
from evaluate.faults.in_graph import GRAPH_FAULTS
from evaluate.faults.in_weights import WEIGHT_FAULTS
from evaluate.faults.modules import MODULE_FAULTS, bundle_variant_cases, fault_cases, variant_cases
from evaluate.faults.page import page, write_page
from evaluate.faults.power import power_of
from evaluate.faults.rules import OURS, RULES, close, dynamo_same, onnx_verify, polygraphy, three_decimals
from evaluate.faults.subjects import subjects
from evaluate.faults.trial import try_candidate
from evaluate.reference_graph import DoubleRunner
from serve.bundle import read_bundle

Evaluate = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread, as the measurement does: for networks so small, others only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ground() -> Ground:
    """Perceptron with layer normalisation on a table: it has most kinds of faults, and takes no time."""
    return prepare(subjects()["table"], scale=1.0, seed=0, quick=True)


@pytest.fixture(scope="module")
def maker(ground: Ground) -> GraphMaker:
    """Maker of its ONNX graphs."""
    return GraphMaker(ground.module, ground.subject, ground.samples)


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Arrays of all sorts, close to each other and not."""
    rng = np.random.default_rng(0)
    found = []
    for size in 10.0 ** np.arange(-9, 1):
        for scale in (1e-3, 1.0, 100.0):
            expected = (scale * rng.normal(size=(20, 10))).astype(np.float32)
            found.append((expected + (size * rng.normal(size=(20, 10))).astype(np.float32), expected))
    broken = expected.copy()
    broken[3, 3] = np.nan
    infinite = np.where(np.isnan(broken), np.inf, broken).astype(np.float32)
    return [*found, (broken, expected), (broken, broken), (infinite, expected), (infinite, infinite)]


def raises(check: Callable[[], None]) -> bool:
    try:
        check()
    except AssertionError:
        return True
    return False


@pytest.mark.filterwarnings("ignore:invalid value")
def test_rules_are_those_of_the_libraries() -> None:
    from torch._dynamo.utils import same

    verdicts = []
    for actual, expected in pairs():
        wide, tensors = expected.astype(np.float64), (torch.from_numpy(actual), torch.from_numpy(expected))
        found = [close(actual, expected, rtol=1e-5, atol=1e-5), close(actual, expected, rtol=1.3e-6, atol=1e-5)]
        assert found[0] == np.allclose(actual, expected, rtol=1e-5, atol=1e-5)
        assert found[1] != raises(lambda t=tensors: torch.testing.assert_close(*t))
        assert three_decimals(actual, expected) != raises(
            lambda a=actual, e=expected: np.testing.assert_almost_equal(a, e, decimal=3)
        )
        assert close(actual, expected, rtol=1e-3, atol=1e-7, equal_nan=True) != raises(
            lambda a=actual, e=expected: np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-7)
        )
        assert dynamo_same(actual, expected, wide) == same(
            tensors[1], tensors[0], torch.from_numpy(wide), log_error=lambda *_: None
        )
        verdicts += found
    assert set(verdicts) == {True, False}


def test_verify_objects_to_either_bound_and_lets_nan_pass() -> None:
    one = np.ones((2, 2), dtype=np.float32)
    assert onnx_verify(one + np.float32(4e-3), one)
    assert not onnx_verify(one + np.float32(6e-3), one)
    assert not onnx_verify(np.full_like(one, 1.2e-3), np.full_like(one, 1e-3))
    assert onnx_verify(one * np.float32(np.nan), one)


def test_polygraphy_objects_only_where_both_bounds_are_missed() -> None:
    large, small = (np.full((2, 2), value, dtype=np.float32) for value in (1000.0, 1e-6))
    assert polygraphy(large + np.float32(5e-3), large)
    assert polygraphy(small * 2, small)
    assert not polygraphy(large * np.float32(1.0001), large)
    assert not polygraphy(large * np.float32(np.nan), large)


def test_every_fault_that_is_planted_is_caught_or_named(ground: Ground, maker: GraphMaker) -> None:
    cases = list(fault_cases(ground, maker, known=lambda _: False))
    assert len(cases) > 60
    assert len({case.key for case in cases}) == len(cases)
    # in front of a layer normalisation, which divides what is multiplied: float32 cannot tell it from rounding
    missed = {case.kind for case in cases if not case.rejects[OURS] and not case.harmless}
    assert missed <= {"graph: a value x 1.01", "graph: a value x 1.0001"}
    assert all(case.effect is not None and case.effect < 6 for case in cases if case.kind in missed)
    named = {case.kind: case for case in cases}
    assert "branch baked: never taken" in named
    assert "it fails on" in (named["batch frozen at 2"].reason or "")
    assert named["one weight + 1 %"].place == "ONNX"


def test_correct_variants_pass(ground: Ground, maker: GraphMaker) -> None:
    cases = list(variant_cases(ground, maker, known=lambda _: False, costly=False))
    assert len(cases) == 10
    assert [case.kind for case in cases if case.rejects[OURS]] == []


@pytest.fixture(scope="module")
def bundled(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Bundled:
    """Bundles of it on disk."""
    return Bundled(ground, tmp_path_factory.mktemp("bundled"))


def test_right_bundles_end_with_exit_code_0(ground: Ground, bundled: Bundled) -> None:
    cases = list(bundle_variant_cases(ground, bundled, known=lambda _: False))
    assert [(case.kind, case.exit_code, case.said) for case in cases] == [(kind, 0, None) for kind in BUNDLE_VARIANTS]
    assert power_of(cases).command.alarms.trials == len(BUNDLE_VARIANTS)


def test_a_right_graph_in_place_of_the_others_ends_with_0(ground: Ground, maker: GraphMaker, bundled: Bundled) -> None:
    for graph in (maker.make(ground.module), trace(ground.module, ground.samples)):
        judged = bundled.judge_graph(graph)
        assert (judged.code, judged.reason, judged.code_with_data) == (0, None, 0)


@pytest.mark.parametrize(
    "kind", ["one weight + 1 %", "two columns exchanged", "batch frozen at 2", "graph: a bias left out"]
)
def test_wrong_graphs_end_with_exit_code_1(kind: str, ground: Ground, maker: GraphMaker, bundled: Bundled) -> None:
    known = {fault.kind for fault in (*MODULE_FAULTS, *GRAPH_FAULTS, *WEIGHT_FAULTS)} - {kind}
    cases = list(fault_cases(ground, maker, known=lambda key: key.partition(" #0 ")[2] in known, bundled=bundled))
    assert [(case.kind, case.exit_code) for case in cases] == [(kind, 1)]
    assert "graph." in (cases[0].said or "")


def test_a_bundle_that_cannot_be_judged_is_trouble(bundled: Bundled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundled, "_options", ("--factory", "no.such:thing"))
    judged = bundled.judge_right()
    assert judged.code == 2
    assert "no.such" in (judged.reason or "")


def test_a_known_case_is_not_made_again(ground: Ground, maker: GraphMaker) -> None:
    assert list(variant_cases(ground, maker, known=lambda _: True, costly=True)) == []
    assert list(fault_cases(ground, maker, known=lambda _: True)) == []


def test_kinds_have_names_of_their_own() -> None:
    kinds = [fault.kind for fault in (*MODULE_FAULTS, *GRAPH_FAULTS, *BUNDLE_FAULTS)]
    assert len(set(kinds)) == len(kinds)


class Scaled(nn.Module):
    """Multiplies what a module gives."""

    def __init__(self, module: nn.Module, factor: float) -> None:
        super().__init__()
        self.module = module
        self.factor = factor

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(output * self.factor for output in self.module(features))


@pytest.mark.parametrize(
    ("factor", "harmless"),
    [
        pytest.param(1.0, True, id="same"),
        pytest.param(1 + 1e-9, True, id="below an ulp"),
        pytest.param(1 + 1e-6, False, id="ten ulp"),
        pytest.param(float("nan"), False, id="nan"),
    ],
)
def test_only_what_float32_cannot_show_is_harmless(factor: float, harmless: bool, ground: Ground) -> None:
    assert module_is_harmless(Scaled(ground.module, factor), ground.subject, ground.truths) is harmless


class ThereAndBack(Scaled):
    """Multiplies what a module gives, and divides it again."""

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(output * self.factor * self.factor / self.factor / self.factor for output in self.module(features))


def test_what_is_finite_in_float64_alone_is_not_harmless(ground: Ground) -> None:
    assert module_is_harmless(ThereAndBack(ground.module, 2.0**20), ground.subject, ground.truths)
    assert not module_is_harmless(ThereAndBack(ground.module, 2.0**100), ground.subject, ground.truths)


def test_graphs_are_tested_in_float64(ground: Ground, maker: GraphMaker) -> None:
    right = maker.make(ground.module)
    exact = DoubleRunner(right).run(ground.samples)["prediction"]
    assert np.abs(exact - ground.truths[0].reference["prediction"][: len(exact)]).max() < 1e-9

    def outputs(model):
        return try_candidate(onnx_candidates(model, ground.subject)[1], ground.truths, task="regression").outputs

    test = GraphTest(right, ground.truths, outputs(right))
    assert test.is_harmless(right, outputs(right))
    for factor in (1e-6, 1e-2):
        state = {name: tensor * (1 + factor) for name, tensor in ground.module.state_dict().items()}
        wrong = maker.make(ground.module, state)
        assert not test.is_harmless(wrong, outputs(wrong))


def case(*, group: str = "fault", rejects: bool = True, **changes: object) -> Case:
    names = (OURS, *(rule.name for rule in RULES))
    made = Case(
        group="fault",
        subject="cnn",
        scale=1.0,
        seed=0,
        family="layer",
        kind="GELU by tanh",
        place="TorchScript",
        rejects=dict.fromkeys(names, rejects),
        rejects_samples=dict.fromkeys(names, rejects),
        harmless=False,
        ratio=2.0,
        reason=None,
    )
    return replace(made, group=group, **changes)


def test_missed_faults_and_false_alarms_decide() -> None:
    right = case(group="variant", rejects=False, family="variant")
    assert power_of([case(), right]).passed
    assert power_of([case(), right, case(rejects=False, harmless=True)]).passed
    assert power_of([case(), right, case(group="variant", family="coarse")]).passed
    assert not power_of([case(), right, case(rejects=False)]).passed
    assert not power_of([case(), right, case(group="variant", family="variant")]).passed
    assert not power_of([right]).passed


def test_exit_codes_decide() -> None:
    right = case(group="variant", rejects=False, family="variant")
    caught, held = case(exit_code=1), case(group="variant", rejects=False, family="bundle", exit_code=0)
    both = power_of([caught, right, held])
    assert both.passed
    assert (both.command.caught.events, both.command.alarms.trials) == (1, 1)
    assert not both.command.disagreeing
    late = power_of([caught, right, held, case(kind="late", exit_code=0, exit_code_with_data=1)])
    assert late.passed
    assert (late.command.caught.events, late.command.caught_with_data.events) == (1, 2)
    assert [one.kind for one in late.command.missed] == ["late"]
    assert not late.command.disagreeing
    slipped = power_of([caught, right, held, case(kind="slipped", exit_code=0, exit_code_with_data=0)])
    assert not slipped.passed
    assert [one.kind for one in slipped.command.missed] == ["slipped"]
    assert [one.kind for one in slipped.command.disagreeing] == ["slipped"]
    unsure = power_of([caught, right, held, case(kind="unsure", exit_code=2)])
    assert not unsure.passed
    assert [one.kind for one in unsure.command.trouble] == ["unsure"]
    assert (unsure.command.caught.events, unsure.command.caught.trials) == (1, 2)
    assert not power_of([caught, right, case(group="variant", family="bundle", exit_code=1)]).passed
    assert power_of([caught, right, held, case(rejects=False, harmless=True, exit_code=0)]).command.harmless.trials == 1


def test_the_page_says_what_the_command_line_ended_with() -> None:
    cases = [
        case(exit_code=1),
        case(kind="one bias zeroed", exit_code=0, exit_code_with_data=0),
        case(kind="one weight lost", exit_code=0, exit_code_with_data=1),
        case(kind="softmax twice", exit_code=2, said="no such file"),
        case(group="variant", family="bundle", rejects=False, exit_code=0),
    ]
    text = page(cases, power_of(cases), picture="images/faults.png", quick=False)
    assert "exit code 1 on 1 / 4 faults, on 2 / 4 with all samples given, and on 0 / 1 right bundles.**" in text
    assert "| layers | 4 | 1 | 1 | 1 | 1 |" in text
    assert "| **all** | 4 | 1 | 1 | 1 | 1 |" in text
    assert "- one bias zeroed, cnn at scale 1: exit code 0, 0 with all samples\n- one weight lost" in text
    assert "Neither 0 nor 1:\n\n- softmax twice, cnn at scale 1: exit code 2, no such file" in text
    assert "do not agree on:\n\n- one bias zeroed, cnn at scale 1: exit code 0, 0 with all samples; the" in text
    assert "Through the command line" not in page([case()], power_of([case()]), picture="p.png", quick=True)


def test_the_page_names_what_is_missed(tmp_path: Path) -> None:
    cases = [
        case(),
        case(kind="one bias zeroed", rejects=False, effect=0.5),
        case(kind="denormals flushed to 0", rejects=False, harmless=True),
        case(group="variant", kind="TorchScript", family="variant", rejects=True, reason="error is rmse 1"),
    ]
    text = page(cases, power_of(cases), picture="images/faults.png", quick=True)
    assert "**1 / 2 faults caught, 1 / 1 false alarms.**" in text
    assert (
        "- one bias zeroed, cnn at scale 1: it moves outputs by at most 0.5 x the greatest error of PyTorch's own"
        in text
    )
    assert "- TorchScript, cnn at scale 1: error is rmse 1" in text
    assert "- denormals flushed to 0: 1 (cnn)" in text
    write_page(tmp_path / "faults.md", cases, quick=True)
    assert (tmp_path / "faults.md").read_text().startswith("# Faults")
    assert (tmp_path / "images" / "faults.png").read_bytes().startswith(b"\x89PNG")


def test_the_journal_keeps_whole_lines_of_the_same_settings(tmp_path: Path) -> None:
    path, settings = tmp_path / "cases.jsonl", current_settings(quick=True)
    journal = Journal(path, settings)
    journal.add(case())
    journal.finish("cnn x1 #0")
    with path.open("ab") as file:
        file.write(b'{"group": "fau')
    again = Journal(path, settings)
    assert list(again.cases.values()) == [case()]
    assert again.finished == {"cnn x1 #0"}
    assert len(path.read_bytes().splitlines()) == 3
    assert not Journal(path, settings, again=True).cases
    journal.add(case())
    assert not Journal(path, replace(settings, quick=False)).cases


@pytest.mark.parametrize("fault", BUNDLE_FAULTS[:8:3], ids=lambda fault: fault.kind)
def test_faults_in_a_bundle_are_reported(fault, wrong_bundle: Path, evaluate: Evaluate) -> None:
    fault.plant(wrong_bundle)
    read_bundle(wrong_bundle)  # every digest fits
    code, _, _ = evaluate("parity", str(wrong_bundle), "--quick", "--no-certificate")
    assert code == 1


def test_the_command_measures_and_goes_on(evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("faults", "blobs", "--quick", "--out", str(tmp_path), "--page", str(tmp_path / "faults.md"))
    code, out, _ = evaluate(*options, "--json", str(tmp_path / "faults.json"))
    first = json.loads((tmp_path / "faults.json").read_text())
    assert code == (0 if first["passed"] else 1)
    assert "harmless by the stated test" in out
    assert (tmp_path / "faults.md").exists()
    assert (tmp_path / "blobs-quick.jsonl").exists()

    def nothing(*args: object, **kwargs: object) -> None:
        pytest.fail("all cases were there")

    monkeypatch.setattr(run, "prepare", nothing)
    code, out, _ = evaluate(*options[:5], "--json", "-")
    assert len(first["cases"]) > 40
    assert "caught" not in out


def test_an_unknown_subject_is_trouble(evaluate: Evaluate, tmp_path: Path) -> None:
    code, _, err = evaluate("faults", "resnet", "--out", str(tmp_path))
    assert code == 2
    assert "subject 'resnet' does not exist, but one of cnn, mlp, transformer, table, digits" in err


def test_a_place_that_cannot_be_written_to_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FaultsError, match=r"cannot be .* \(Not a directory\), but"):
        Journal(tmp_path / "file" / "cases.jsonl", current_settings(quick=True))
