"""Rows that depend on each other are found, in the eager module and in graphs, also where only some run again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import export
from evaluate.independence import Outcome, independence_check, neighbours_change
from evaluate.inputs import InputSet, again, whole
from evaluate.judge import certify
from evaluate.plan import plan_of
from evaluate.truth import Truth
from serve.bundle import read_bundle


class Along(nn.Module):
    """Runs along the batch as if it were time: an LSTM without batch_first."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.LSTM(4, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.steps(x.unsqueeze(1))[0].squeeze(1))


class Rank(nn.Module):
    """Returns the place of each row in its batch, an integer."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=1).argsort().argsort()


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, features=np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32))
    return path


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_module_that_mixes_rows_behind_the_exports_back_fails(
    tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Along().eval()
    monkeypatch.setattr("export.preflight.mixing_part", lambda *_: None)
    export.bundle(
        network, tmp_path / "b", inputs="features:float32[4]", labels="abc", samples=samples, formats=("torchscript",)
    )
    bundle = read_bundle(tmp_path / "b")
    assert bundle.manifest.row_independent
    certificate = certify(bundle, module=network, quick=True)
    assert not certificate.passed
    (check,) = (check for check in certificate.checks if check.name == "rows")
    assert not check.passed
    assert "gives other logits for the same rows held-out samples again at batch size 1" in check.detail


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("network", "says"), [(Along, {"labels": "abc"}), (Rank, {"outputs": ["rank"]})])
def test_what_mixes_rows_in_one_direction_or_in_integers_is_marked_and_passes_alone(
    network: type[nn.Module], says: dict[str, object], tmp_path: Path, samples: Path
) -> None:
    torch.manual_seed(0)
    export.bundle(
        network().eval(),
        tmp_path / "b",
        inputs="features:float32[4]",
        samples=samples,
        formats=("torchscript",),
        **says,
    )
    assert not read_bundle(tmp_path / "b").manifest.row_independent


PLAN = plan_of(quick=True, flops_per_row=8_000_000_000, width=1000)
REFERENCE = np.random.default_rng(1).normal(size=(16, 5))


def truth(inputs: InputSet) -> Truth:
    reference = REFERENCE if inputs.known is None else REFERENCE[inputs.known]
    eager = (reference * (1 + 1e-7)).astype(np.float32)
    return Truth(inputs=inputs, reference={"y": reference}, eager={"y": eager})


def costly_truths() -> list[Truth]:
    rows = {"x": np.arange(16.0, dtype=np.float32)[:, None]}
    sets = [whole("samples", "samples", rows), *again(rows, PLAN)]
    return [truth(inputs) for inputs in sets]


def test_rounding_is_not_mixing() -> None:
    assert independence_check(costly_truths(), row_independent=True).passed


def outcomes(changed_at: int | None) -> list[Outcome]:
    rng = np.random.default_rng(2)
    quantised = REFERENCE + rng.normal(scale=0.01, size=REFERENCE.shape)
    found = []
    for each in costly_truths():
        inputs = each.inputs
        outputs = quantised if inputs.known is None else quantised[inputs.known]
        if inputs.batch_size == changed_at and inputs.known is not None:
            outputs = outputs + rng.normal(scale=0.02, size=outputs.shape)
        found.append(Outcome(truth=each, outputs={"y": outputs.astype(np.float32)}))
    return found


@pytest.mark.parametrize("size", [2, 7, 32])
def test_neighbours_are_compared_where_sets_have_other_lengths(size: int) -> None:
    assert {len(outcome.truth.inputs.judged) for outcome in outcomes(None)} == {4, 7, 16, 32}
    assert neighbours_change(outcomes(None)) is None
    assert f"at batch size {size}" in (neighbours_change(outcomes(size)) or "")


def test_where_no_row_is_common_nothing_is_proven() -> None:
    found = outcomes(None)
    last = found[-1]
    known = np.full(32, 15)
    inputs = replace(last.truth.inputs, known=known)
    found[-1] = replace(last, truth=replace(last.truth, inputs=inputs))
    assert "was also run alone, so nothing is proven" in (neighbours_change(found) or "")
