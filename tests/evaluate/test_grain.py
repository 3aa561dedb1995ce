"""Outputs that were rounded to decimals are told from those that only happen to be near them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import export
from evaluate.grain import decimals_of
from evaluate.judge import certify
from evaluate.resealed import replace_file
from export.reference import to_float64
from serve.bundle import read_bundle

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Change = Callable[[Tensor], Tensor]


class _Then(nn.Module):
    """A perceptron, and what is done to its outputs."""

    def __init__(self, change: Change = lambda outputs: outputs, *, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 10))
        self.change = change
        self.scale = scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Run one batch."""
        return self.change(self.network(inputs) * self.scale)


def _found(right: nn.Module, wrong: nn.Module | None = None, *, rows: int = 200) -> int | None:
    """Return what is said of a graph whose sums are in another order."""
    torch.manual_seed(1)
    inputs = torch.rand(rows, 8)
    with torch.no_grad():
        eager, reference = right(inputs).numpy(), to_float64(right)(inputs).numpy()
        values = to_float64(wrong or right)(inputs).float()
        noise = 1 + 2.0**-23 * torch.randint(-2, 3, values.shape)
        graph = (values if wrong else values * noise).numpy()
    return decimals_of(graph, eager=eager, reference=reference)


def _rounded(decimals: int) -> Change:
    return lambda outputs: (outputs * 10**decimals).round() / 10**decimals


@pytest.mark.parametrize(("decimals", "scale"), [(1, 1.0), (2, 1000.0), (4, 1.0), (4, 100.0), (4, 300.0), (6, 1.0)])
def test_rounding_is_found_and_counted(decimals: int, scale: float) -> None:
    assert _found(_Then(scale=scale), _Then(_rounded(decimals), scale=scale)) == decimals


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda outputs: outputs, id="nothing"),
        pytest.param(_rounded(4), id="the network itself rounds"),
        pytest.param(lambda outputs: (outputs > 0).float().mean(1, keepdim=True), id="tenths"),
        pytest.param(lambda outputs: (outputs > 0).float().cumsum(1) * 0.1 / 3 * 3, id="tenths with errors"),
        pytest.param(lambda outputs: torch.relu(outputs - 10), id="all zeros"),
        pytest.param(lambda outputs: torch.softmax(100 * outputs, dim=1), id="saturated probabilities"),
        pytest.param(lambda outputs: outputs * 1e6, id="greater than any grid is fine"),
        pytest.param(lambda outputs: outputs * 1e-9, id="smaller than any grid"),
        pytest.param(lambda outputs: outputs[:, :1] * 0 + 0.1234567, id="one value"),
    ],
)
def test_a_right_graph_is_not_called_rounded(change: Change) -> None:
    assert _found(_Then(change)) is None


def test_few_values_prove_nothing() -> None:
    values = np.array([[0.1, 0.2, 0.3]], dtype=np.float32)
    truth = np.array([[0.1004, 0.1996, 0.3003]])
    assert decimals_of(values, eager=truth.astype(np.float32), reference=truth) is None


def test_one_value_off_the_grid_is_enough() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(400, 3))
    values = np.round(truth, 3).astype(np.float32)
    eager = truth.astype(np.float32)
    assert decimals_of(values, eager=eager, reference=truth) == 3
    values[7, 1] = 0.0123456789  # of greater ones, seven decimals are as fine as float32
    assert decimals_of(values, eager=eager, reference=truth) is None


def test_parity_says_that_a_graph_rounds(tmp_path: Path) -> None:
    rounds, right = (_Then(change, scale=100.0).eval() for change in (_rounded(4), lambda outputs: outputs))
    samples = tmp_path / "samples.npz"
    np.savez(samples, features=np.random.default_rng(0).uniform(size=(100, 8)).astype(np.float32))
    labels = tuple("abcdefghij")
    for network, name in ((rounds, "wrong"), (right, "right")):
        export.bundle(network, tmp_path / name, inputs="features:float32[8]", labels=labels, samples=samples)
    wrong = tmp_path / "wrong"
    replace_file(tmp_path / "right", "graph.onnx", (wrong / "graph.onnx").read_bytes())
    replace_file(tmp_path / "right", "graph.torchscript.pt", (wrong / "graph.torchscript.pt").read_bytes())
    certificate = certify(read_bundle(tmp_path / "right"), module=right, quick=True)
    said = "; values are rounded to 4 decimals, and PyTorch's are not"
    assert [(graph.verdict, said in str(graph.reason)) for graph in certificate.graphs] == [("fail", True)] * 2
