"""Networks that keep what they compute, and such as branch with torch.cond, as torch recommends."""

import warnings
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import export
from evaluate.judge import certify
from export.batch_sizes import check_batch_sizes
from export.errors import ExportError
from export.first_line import first_line, last_line
from export.shared_weights import copy_sharing_weights
from serve.bundle import TensorSpec, read_bundle


class Cache(nn.Module):
    """Keeps what it computed in training, as notebooks do to look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.kept: dict[str, list[Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(x)
        if torch.is_grad_enabled():
            self.kept = {"y": [y]}
        return y.relu()


class Cond(nn.Module):
    """Goes one of two ways, in a manner that a graph can hold; which one, its weights say."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.switch = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(self.switch(x * 0).sum() > 9, self.one, self.other, (x,))


def weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates it
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)), nn.ReLU())  # type: ignore[no-untyped-call]


def write(network: nn.Module, folder: Path, *formats: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no samples, and where things are kept
        export.bundle(network, folder / "b", inputs="x:float32[4]", outputs=("y",), formats=formats)
    return folder / "b"


@pytest.mark.parametrize("build", [weight_norm, Cache])
def test_what_was_computed_with_gradients_and_kept_is_copied(build: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build()
    network(torch.ones(2, 4))  # in training: what is kept has a history
    bundle = read_bundle(write(network, tmp_path, "onnx", "torchscript"))
    assert certify(bundle, data_root=tmp_path, module=network, provider="cpu", quick=True).passed


def test_a_copy_of_what_is_kept_is_its_own() -> None:
    network = Cache()
    network(torch.ones(2, 4))
    copied = copy_sharing_weights(network)
    assert isinstance(copied, Cache)
    (own,), (other,) = network.kept["y"], copied.kept["y"]
    assert torch.equal(own, other)
    assert other.is_leaf
    assert own.data_ptr() != other.data_ptr()


def test_torch_cond_becomes_a_graph_that_tells_no_place(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Cond().eval()
    path = write(network, tmp_path, "onnx")
    model = onnx.load(path / "graph.onnx")
    (branch,) = (node for node in model.graph.node if node.op_type == "If")
    traces = [prop.value for part in branch.attribute for node in part.g.node for prop in node.metadata_props]
    assert any("test_own_constructs.py" in trace for trace in traces)
    assert str(Path(__file__).parents[1]) not in "".join(traces)
    assert certify(read_bundle(path), data_root=tmp_path, module=network, provider="cpu", quick=True).passed


def test_torch_cond_in_a_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="torchscript cannot hold this network"):
        write(Cond().eval(), tmp_path, "torchscript")


class Looked(nn.Module):
    """Looks something up by a size, which is a tensor in a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x) * {4: 0.5}[x.shape[1]]


def test_what_a_trace_cannot_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"the network cannot be traced \(.+\), though it runs; a trace hands"):
        write(Looked().eval(), tmp_path, "torchscript")


def test_a_graph_that_fails_without_a_word_is_one_sentence() -> None:
    def graph(_: Tensor) -> tuple[Tensor, ...]:
        raise AssertionError

    outputs = (TensorSpec(name="y", dtype="float32", shape=("batch", 1)),)
    with pytest.raises(
        ExportError, match=r"the graph was traced at batch 2 and fails at batch 1 \(AssertionError\); look for int"
    ):
        check_batch_sizes(graph, (torch.zeros(2, 1),), outputs=outputs, subject="the graph", made="traced")


@pytest.mark.parametrize(
    ("message", "first", "last"),
    [
        pytest.param("", "ValueError", "ValueError", id="empty"),
        pytest.param("\n \n", "ValueError", "ValueError", id="blank"),
        pytest.param("\n one \ntwo\n\n", "one", "two", id="several lines"),
    ],
)
def test_a_line_of_an_exception(message: str, first: str, last: str) -> None:
    assert (first_line(ValueError(message)), last_line(ValueError(message))) == (first, last)


class CondDropout(Cond):
    """Draws random numbers in the branch that runs."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(self.switch(x * 0).sum() > 9, self.one, lambda y: torch.dropout(self.one(y), 0.5, True), (x,))


def test_random_numbers_in_a_branch_are_seen(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="CondDropout calls cond in forward, so its answers are drawn by chance"):
        write(CondDropout().eval(), tmp_path, "onnx")
