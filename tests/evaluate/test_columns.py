"""Each target of a regression is judged by itself, and every batch size that a server forms is run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import export
from evaluate.certificate import Certificate
from evaluate.judge import certify
from evaluate.print_certificate import print_certificate
from serve.bundle import read_bundle

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Sale(nn.Module):
    """Predicts a price in hundred thousands, and a rate that is a small fraction."""

    def __init__(self, rate: float = 0.02, price: float = 2e5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden = nn.Linear(4, 16)
        self.last = nn.Linear(16, 2)
        self.register_buffer("scale", torch.tensor([price, rate]))
        self.spoilt = False

    def forward(self, features: Tensor) -> Tensor:
        prediction = self.last(torch.tanh(self.hidden(features))) * self.scale
        return prediction * torch.tensor([1.0, 0.0]) if self.spoilt else prediction


class BySize(nn.Module):
    """Adds something where a batch has five rows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(4, 2)

    def forward(self, features: Tensor) -> Tensor:
        prediction = self.last(features)
        return prediction + 100 if features.shape[0] == 5 else prediction


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, features=np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32))
    return path


def judged(
    network: nn.Module, out: Path, samples: Path, *, formats: tuple[str, ...] = ("torchscript",), quick: bool = True
) -> Certificate:
    export.bundle(
        network.eval(), out, inputs="features:float32[4]", targets=["price", "rate"], samples=samples, formats=formats
    )
    return certify(read_bundle(out), module=network, quick=quick)


def test_targets_of_other_sizes_pass_where_they_are_right(tmp_path: Path, samples: Path) -> None:
    certificate = judged(Sale(), tmp_path / "b", samples)
    assert certificate.passed
    console = Console(width=200)
    with console.capture() as captured:
        print_certificate(certificate, console)
    nearest = certificate.graphs[0].comparisons[0].column
    assert nearest in {0, 1}
    assert f"in the unit of prediction of target {nearest + 1}, the nearest to its bound" in captured.get()


def test_a_small_target_that_is_dead_in_the_graph_fails(
    tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Sale()
    trace = torch.jit.trace

    def spoil(module: nn.Module, *arguments: object, **options: object) -> object:
        inner = module.network
        inner.spoilt = True
        try:
            return trace(module, *arguments, **options)
        finally:
            inner.spoilt = False

    monkeypatch.setattr(torch.jit, "trace", spoil)
    certificate = judged(network, tmp_path / "b", samples)
    assert not certificate.passed
    assert "prediction on held-out samples and mixtures of them: error of target 2 is rmse" in (
        certificate.graphs[0].reason or ""
    )


def test_a_target_that_never_varies_is_unproven(tmp_path: Path, samples: Path) -> None:
    certificate = judged(Sale(rate=0.0), tmp_path / "b", samples)
    assert certificate.graphs[0].verdict == "unproven"
    assert "target 2: it varies by 0" in (certificate.graphs[0].reason or "")


def test_half_precision_is_judged_target_by_target(tmp_path: Path, samples: Path) -> None:
    network = Sale(rate=1.0, price=1.0)
    with torch.no_grad():
        network.last.weight.mul_(torch.tensor([[100.0], [1e-7]]))
        network.last.bias.mul_(torch.tensor([100.0, 1e-7]))
    certificate = judged(network, tmp_path / "b", samples, formats=("onnx", "onnx-fp16"))
    (half,) = (graph for graph in certificate.graphs if graph.precision == "float16")
    assert half.verdict == "fail"
    assert "prediction, target 2" in (half.reason or "")


def test_a_branch_on_one_batch_size_does_not_pass(tmp_path: Path, samples: Path) -> None:
    certificate = judged(BySize(), tmp_path / "b", samples)
    assert not certificate.passed
    (check,) = (check for check in certificate.checks if check.name == "rows")
    assert "at every batch size from 1 to 64" in check.detail
