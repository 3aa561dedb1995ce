"""What an export holds in memory: the weights, and little more."""

import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from export.errors import ExportError
from export.onnx_graph import GraphRunner, infer_shapes
from export.reference import to_float64
from export.shared_weights import copy_sharing_weights
from export.to_onnx import export_onnx
from serve.bundle import TensorSpec
from tests.conftest import ROOT

WHOLE = 1 << 40
WIDTH = 8


class Own(nn.Module):
    """Weights used in every way but by a layer that owns them."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.scale = nn.Buffer(torch.rand(WIDTH))
        self.embed = nn.Linear(WIDTH, WIDTH)
        self.attention = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
        self.recurrent = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.normed = weight_norm(nn.Linear(WIDTH, WIDTH))
        self.picture = nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm1d(WIDTH))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        x = inputs.to(self.token.dtype) / torch.finfo(self.scale.dtype).max ** 0.001
        x = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], dim=1)
        x = self.recurrent(self.attention(x * self.scale))[0]
        x = nn.functional.linear(self.normed(x), weight=self.embed.weight.T, bias=self.token[0, 0])
        x = self.picture(x.transpose(1, 2)) + float(self.scale[0])
        return x, self.token


class Remembering(nn.Module):
    """Keep a table that the first run computes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH))
        self.table: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.sin(self.weight)
        return inputs * self.table


def rows(count: int = 3) -> Tensor:
    return torch.randn(count, 5, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def own() -> nn.Module:
    torch.manual_seed(0)
    return Own().eval()


def test_weights_that_are_widened_one_by_one_give_the_same_bits(own: nn.Module) -> None:
    with torch.inference_mode():
        whole, lean = to_float64(own, whole_bytes=WHOLE)(rows()), to_float64(own, whole_bytes=0)(rows())
        single = own(rows().float())
    for expected, actual, narrow in zip(whole, lean, single, strict=True):
        assert actual.dtype == expected.dtype == torch.float64
        assert torch.equal(actual, expected)
        assert narrow.dtype == torch.float32
    assert not torch.equal(single[0].double(), whole[0])  # so that the reference is none of float32 in disguise


def test_weights_that_are_widened_one_by_one_are_no_second_copy(own: nn.Module) -> None:
    lean, whole = to_float64(own, whole_bytes=0), to_float64(own, whole_bytes=WHOLE)
    places = {parameter.data_ptr() for parameter in own.parameters()}
    assert {parameter.data_ptr() for parameter in lean.parameters()} == places
    assert not {parameter.data_ptr() for parameter in whole.parameters()} & places
    assert all(parameter.dtype == torch.float32 for parameter in own.parameters())


@pytest.mark.parametrize("whole_bytes", [0, WHOLE])
def test_what_a_module_remembers_stays_apart_from_the_reference(whole_bytes: int) -> None:
    module = Remembering().eval()
    reference = to_float64(module, whole_bytes=whole_bytes)
    x = torch.ones(1, WIDTH)
    for part, dtype in ((reference, torch.float64), (module, torch.float32), (reference, torch.float64)):
        with torch.no_grad():
            assert part(x.to(dtype)).dtype == dtype
    assert module.table is not None
    assert module.table.dtype == torch.float32


def test_a_scripted_network_is_widened_as_a_whole() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        module = nn.Sequential(torch.jit.script(nn.Linear(WIDTH, 2))).eval()
    with torch.no_grad():
        assert to_float64(module, whole_bytes=0)(rows()).dtype == torch.float64


def change(parameter: Tensor) -> None:
    parameter.data = parameter.data + 1


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda module: module.double(), id="converted"),
        pytest.param(lambda module: module.requires_grad_(False), id="frozen"),
        pytest.param(lambda module: module.train(), id="in training"),
        pytest.param(lambda module: change(module.embed.weight), id="replaced"),
        pytest.param(lambda module: module.scale.zero_(), id="buffers written"),
    ],
)
def test_a_copy_that_shares_weights_can_be_changed(own: nn.Module, edit: Callable[[nn.Module], object]) -> None:
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    edit(copy_sharing_weights(own))
    assert not own.training
    assert all(parameter.requires_grad for parameter in own.parameters())
    after = own.state_dict()
    assert all(
        after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items()
    )


MEASURE = """
import sys
from pathlib import Path
import torch
from torch import nn
import export
import export.in_python
from evaluate.bench.memory import peak_bytes as peak

import numpy as np

np.savez(sys.argv[1] + "/rows.npz", x=np.random.default_rng(0).normal(size=(64, 4)).astype("float32"))
options = dict(inputs="x:float32[4]", outputs=["y"], formats=sys.argv[2:], samples=sys.argv[1] + "/rows.npz")
export.bundle(nn.Linear(4, 2), sys.argv[1] + "/small", **options)
before = peak()
layers = [part for _ in range(40) for part in (nn.Linear(1024, 1024), nn.Tanh())]
network = nn.Sequential(nn.Linear(4, 1024), *layers, nn.Linear(1024, 2))
size = sum(parameter.nbytes for parameter in network.parameters())
export.bundle(network, sys.argv[1] + "/large", **options)
print(size, (peak() - before) / size)
"""


@pytest.mark.parametrize(
    "formats",
    [
        pytest.param(["torchscript"], id="torchscript"),
        pytest.param(["onnx", "onnx-fp16"], id="onnx-fp16", marks=pytest.mark.slow),
        pytest.param(["onnx", "onnx-int8"], id="onnx-int8", marks=pytest.mark.slow),
    ],
)
def test_a_large_network_takes_less_than_three_times_its_weights(
    formats: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("large")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(folder), *formats],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    size, ratio = result.stdout.split()
    assert int(size) > 150_000_000
    assert 1 <= float(ratio) <= 3
    shutil.rmtree(folder)


def test_a_graph_that_does_not_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "graph.fp16.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match=r"graph\.fp16\.onnx cannot be run by ONNX Runtime .*; leave its format out"):
        GraphRunner(tmp_path / "graph.fp16.onnx", ("logits",))


def test_shapes_are_inferred_as_with_the_weights(tmp_path: Path) -> None:
    layers = [nn.Linear(16, 1200), nn.ReLU(), nn.Linear(1200, 200), nn.Flatten(), nn.Linear(200, 3)]
    spec, answer = (TensorSpec(name=name, dtype="float32", shape=("batch", n)) for name, n in (("x", 16), ("y", 3)))
    path = tmp_path / "graph.onnx"
    export_onnx(nn.Sequential(*layers).eval(), (torch.rand(2, 16),), path, inputs=(spec,), outputs=(answer,))
    model = onnx.load(path)
    assert any(tensor.ByteSize() > 1 << 16 for tensor in model.graph.initializer)
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [value for value in model.graph.value_info if value.name not in weights and "linear" not in value.name]
    del model.graph.value_info[:]
    model.graph.value_info.extend(values)
    expected = onnx.shape_inference.infer_shapes(model)
    infer_shapes(model)
    assert model == expected
    assert len(model.graph.value_info) > len(values)
