"""Outputs that were rounded to decimals are told from those that only happen to be near them."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import export
from evaluate.certificate import Certificate
from evaluate.grain import decimals_of
from evaluate.judge import certify
from evaluate.resealed import replace_file
from serve.bundle import read_bundle

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Values = NDArray[np.float32]
TRUTH = np.random.default_rng(0).normal(size=(200, 10))
ULP = 2.0**-23


def single(values: NDArray[np.floating]) -> Values:
    return np.asarray(values, dtype=np.float32)


def found(values: NDArray[np.floating], truth: NDArray[np.float64], eager: Values | None = None) -> int | None:
    return decimals_of(values, eager=single(truth) if eager is None else eager, reference=truth)


def by_division(decimals: int) -> Callable[[Values], Values]:
    return lambda values: np.round(values * np.float32(10**decimals)) / np.float32(10**decimals)


def by_product(change: Callable[[Values], Values]) -> Callable[[Values], Values]:
    return lambda values: change(values * np.float32(1000)) * np.float32(0.001)


@pytest.mark.parametrize(
    ("rounded", "scale", "decimals"),
    [
        *[pytest.param(by_division(n), 1, n, id=f"{n} of 1") for n in (1, 2, 3, 4, 5)],
        pytest.param(by_division(1), 1000, 1, id="1 of 1000"),
        pytest.param(by_division(4), 100, 4, id="4 of 100"),
        pytest.param(by_product(np.round), 1, 3, id="by a product"),
        pytest.param(by_product(np.floor), 30, 3, id="down"),
        pytest.param(by_product(np.trunc), 30, 3, id="towards zero"),
    ],
)
def test_rounding_is_found_and_counted(rounded: Callable[[Values], Values], scale: int, decimals: int) -> None:
    truth = scale * TRUTH
    assert found(rounded(single(truth)), truth) == decimals


def test_a_column_is_found_by_itself() -> None:
    values = single(TRUTH)
    values[:, 7] = by_division(3)(values[:, 7])
    assert found(values, TRUTH) == 3
    assert found(values[:, :7], TRUTH[:, :7]) is None


def test_few_that_tell_are_found_among_many_that_do_not() -> None:
    truth = np.zeros((64, 56, 56))
    truth[:, ::7, ::7] = np.random.default_rng(1).normal(size=(64, 8, 8))
    assert found(by_division(3)(single(truth)), truth) == 3


def test_one_value_off_the_grid_is_enough() -> None:
    values = by_division(3)(single(TRUTH[:, 0]))
    assert found(values, TRUTH[:, 0]) == 3
    values[7] = 0.0123456789  # of greater ones, seven decimals are as fine as float32
    assert found(values, TRUTH[:, 0]) is None


def _steps(size: int) -> NDArray[np.float64]:
    """Return whole numbers, in any order."""
    return np.random.default_rng(2).integers(1, 100 * size, size=(size, 1)).astype(np.float64)


NOISE = 1 + 4 * ULP * np.random.default_rng(3).choice([-1, 1], size=(400, 1))
GREAT = 1e4 * (2 + np.abs(TRUTH))
RIGHT = {
    "PyTorch's own": (single(TRUTH), TRUTH, single(TRUTH)),
    "truth on the grid": (single(_steps(400) / 10), _steps(400) / 10, single(_steps(400) / 10 * NOISE)),
    "PyTorch's on the grid": (by_division(3)(single(TRUTH)), TRUTH, by_division(3)(single(TRUTH))),
    "differences of great numbers": (np.round(single(900 * TRUTH) * 8) / 8, 900 * TRUTH, single(900 * TRUTH)),
    "a grid as fine as float32": (by_division(3)(single(GREAT)), GREAT, single(GREAT)),
    "zeros": (single(0 * TRUTH), 1e-3 * TRUTH, single(1e-3 * TRUTH)),
    "whole numbers": (np.round(single(50 * TRUTH)), 50 * TRUTH, single(50 * TRUTH)),
    "seven values": (by_division(3)(single(TRUTH[0, :7])), TRUTH[0, :7], single(TRUTH[0, :7])),
    "seven values, many times": (
        np.tile(by_division(3)(single(TRUTH[0, :7])), 100),
        np.tile(TRUTH[0, :7], 100),
        single(np.tile(TRUTH[0, :7], 100)),
    ),
}


@pytest.mark.parametrize(("values", "truth", "eager"), RIGHT.values(), ids=RIGHT)
def test_what_may_be_right_is_not_called_rounded(values: Values, truth: NDArray[np.float64], eager: Values) -> None:
    assert found(values, truth, eager) is None


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38, 1e-42])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (20, 3)])
def test_any_value_and_shape_is_taken_without_a_warning(value: float, shape: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(np.full(shape, value, dtype=np.float32), np.full(shape, 0.1234)) is None
        assert found(np.full(shape, 1e303), np.full(shape, 1e303), np.full(shape, 1, dtype=np.float32)) is None


class _Then(nn.Module):
    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 10))
        self.change = change

    def forward(self, inputs: Tensor) -> Tensor:
        """Run one batch."""
        return self.change(self.network(inputs) * 100)


def judged(network: nn.Module, out: Path, samples: Values, *, outputs: str | None = None) -> Certificate:
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out.parent / "samples.npz", features=samples)
    means = {"labels": tuple("abcdefghij")} if outputs is None else {"outputs": [outputs]}
    export.bundle(
        network.eval(), out, inputs=f"features:float32[{samples.shape[1]}]", samples=out.parent / "samples.npz", **means
    )
    return certify(read_bundle(out), module=network, quick=True)


def test_parity_says_that_a_graph_rounds(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(size=(100, 8)).astype(np.float32)
    right = _Then(lambda outputs: outputs)
    judged(_Then(lambda outputs: (outputs * 1e4).round() / 1e4), tmp_path / "wrong", samples)
    assert judged(right, tmp_path / "right", samples).passed
    for name in ("graph.onnx", "graph.torchscript.pt"):
        replace_file(tmp_path / "right", name, (tmp_path / "wrong" / name).read_bytes())
    said = "; all values are multiples of 0.0001, and PyTorch's are not"
    graphs = certify(read_bundle(tmp_path / "right"), module=right, quick=True).graphs
    assert [(graph.verdict, said in str(graph.reason)) for graph in graphs] == [("fail", True)] * 2


class _Trend(nn.Module):
    """Differences of raw counters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, bias=False)
        weights = np.random.default_rng(0).normal(size=(1, 1, 3))
        self.conv.weight.data = torch.from_numpy(single(weights - weights.mean(axis=2, keepdims=True)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Run one batch."""
        differences: Tensor = self.conv(inputs.unsqueeze(1)).squeeze(1)
        return differences


def _normalised() -> nn.Module:
    last = nn.BatchNorm1d(4)
    last.running_mean = torch.full((4,), 2e6)
    last.running_var = torch.full((4,), 9.0)
    return last


@pytest.mark.parametrize(
    ("network", "scale", "width"), [(_Trend, 1e3, 32), (_normalised, 3, 4)], ids=["trend", "normalised"]
)
def test_right_graphs_of_great_numbers_pass(
    network: Callable[[], nn.Module], scale: float, width: int, tmp_path: Path
) -> None:
    samples = single(2e6 + scale * np.random.default_rng(0).normal(size=(200, width)))
    certificate = judged(network(), tmp_path / "bundle", samples, outputs="trend")
    assert not any("multiples of" in str(graph.reason) for graph in certificate.graphs)
