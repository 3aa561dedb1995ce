"""The notes' blocks: right ones export and hold parity at every batch size and scale; broken ones are found out."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.deployable import input_specs, output_specs, to_float64, wrap
from export.errors import ExportError
from export.module_runner import ModuleRunner, run_batches
from export.to_onnx import export_onnx
from export.to_torchscript import export_torchscript, load_torchscript
from serve.bundle import Feature
from serve.onnx_runner import OnnxRunner
from serve.parity import NumericParity, numeric_parity
from tests.train.broken_blocks import (
    DataLinear,
    ListSequential,
    LoopOnData,
    LoopPerBatch,
    aliased_regular_net,
    broken_chimera,
)
from train.models.blocks import BLOCKS, Centred, FixedHidden, OwnLinear, RowCentred, mixes_rows, own_sequential

EACH_BLOCK = pytest.mark.parametrize("name", list(BLOCKS))
BATCHES = (1, 2, 7, 32, 64)
SCALES = (0.01, 1.0, 100.0)
# a second each, and other blocks export the same operators
SLOW = {(name, "onnx") for name in ("perceptron", "parameter-net", "single", "row-centred", "regular-net")}
Graph = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def build(name: str) -> nn.Module:
    torch.manual_seed(1)
    return BLOCKS[name].build().eval()


def deploy(network: nn.Module, features: int) -> nn.Module:
    columns = tuple(Feature(name=f"x{index}") for index in range(features))
    return wrap(network, task="regression", features=columns, mean=(0.0,) * features, std=(1.0,) * features)


def rows_of(batch: int, features: int, scale: float = 1.0) -> NDArray[np.float32]:
    return (np.random.default_rng(batch).normal(size=(batch, features)) * scale).astype(np.float32)


def to_graph(module: nn.Module, features: int, outputs: int, form: str, folder: Path) -> Graph:
    columns = tuple(Feature(name=f"x{index}") for index in range(features))
    inputs = input_specs(None, columns)
    specs = output_specs("regression", tuple(map(str, range(outputs))))
    example = torch.from_numpy(rows_of(4, features))
    path = folder / "graph"
    if form == "torchscript":
        export_torchscript(module, (example,), path, outputs=specs)
        graph = load_torchscript(path.read_bytes())
        return lambda rows: graph(torch.from_numpy(rows))[0].numpy()
    export_onnx(module, (example,), path, inputs=inputs, outputs=specs)
    runner = OnnxRunner(path.read_bytes(), name="graph", inputs=inputs, outputs=specs, provider="CPUExecutionProvider")
    return lambda rows: runner.run({"features": rows})["prediction"]


def judge(graph: Graph, module: nn.Module, rows: NDArray[np.float32]) -> NumericParity:
    def run(judged: nn.Module) -> NDArray[np.floating]:
        runner = ModuleRunner(judged, inputs=("features",), outputs=("prediction",))
        return run_batches(runner, {"features": rows}, batch_size=64)["prediction"]

    eager, reference = run(module), run(to_float64(module))
    with torch.inference_mode():
        return numeric_parity(graph(rows), eager=eager, reference=reference)


def in_batches(graph: Graph) -> Graph:
    """Run rows at each batch size in turn; what they give is judged together, since one value alone tells little."""
    return lambda rows: np.concatenate([graph(part) for part in np.split(rows, np.cumsum(BATCHES)[:-1])])


def among_hostile_rows(graph: Graph) -> Graph:
    """Run each row with the others, fifty times as large, behind it."""
    return lambda rows: np.concatenate(
        [
            graph(np.concatenate([row[np.newaxis], np.delete(rows, index, axis=0) * 50]))[:1]
            for index, row in enumerate(rows)
        ]
    )


def trace(module: nn.Module, rows: Tensor) -> torch.jit.ScriptModule:
    """Trace as torch does where nobody looks at its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(module, (rows,), check_trace=False)


@EACH_BLOCK
def test_block_has_the_parameters_of_the_notes(name: str) -> None:
    assert sum(parameter.numel() for parameter in build(name).parameters()) == BLOCKS[name].parameters


@EACH_BLOCK
def test_every_parameter_learns(name: str) -> None:
    network = build(name)
    network(torch.from_numpy(rows_of(32, BLOCKS[name].features))).square().sum().backward()
    silent = [
        key for key, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert not silent


@EACH_BLOCK
def test_weights_alone_bring_a_block_back(name: str) -> None:
    network = build(name)
    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    stream.seek(0)
    torch.manual_seed(2)
    clone = BLOCKS[name].build().eval()
    rows = torch.from_numpy(rows_of(5, BLOCKS[name].features))
    assert not torch.equal(clone(rows), network(rows))
    clone.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(clone(rows), network(rows))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(name, form, id=f"{name}-{form}", marks=[pytest.mark.slow] if (name, form) in SLOW else [])
        for name in BLOCKS
        for form in ("torchscript", "onnx")
    ],
)
def test_block_exports_and_holds_parity(name: str, form: str, tmp_path: Path) -> None:
    block = BLOCKS[name]
    network = build(name)
    module = deploy(network, block.features)
    graph = to_graph(module, block.features, block.outputs, form, tmp_path)
    alone = mixes_rows(network)  # its answers hold for one batch, whole, and for no other
    for scale in SCALES:
        rows = rows_of(32 if alone else sum(BATCHES), block.features, scale)
        verdict = judge(graph if alone else in_batches(graph), module, rows)
        assert verdict.passed, (scale, verdict)
    if not alone:
        verdict = judge(among_hostile_rows(graph), module, rows_of(32, block.features))
        assert verdict.passed, verdict


def test_only_the_centred_block_mixes_rows() -> None:
    assert [name for name in BLOCKS if mixes_rows(build(name))] == ["centred"]
    for name, block in BLOCKS.items():
        network = build(name)
        rows = torch.from_numpy(rows_of(7, block.features))
        with torch.inference_mode():
            alone, among = network(rows[:1]), network(torch.cat([rows[:1], rows[1:] * 50]))[:1]
        assert torch.allclose(alone, among, rtol=1e-4, atol=1e-5) != mixes_rows(network), name


def test_centred_subtracts_the_mean_of_all_and_row_centred_of_each() -> None:
    rows = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])
    assert Centred()(torch.arange(1.0, 6.0)).tolist() == [-2, -1, 0, 1, 2]
    assert Centred()(rows).tolist() == [[-3, -2, -1], [0, 1, 5]]
    assert RowCentred()(rows).tolist() == [[-1, 0, 1], [-2, -1, 3]]
    assert torch.equal(Centred()(rows[:1]), RowCentred()(rows[:1]))


def test_state_dicts_are_those_of_the_notes() -> None:
    def keys(name: str) -> list[str]:
        return list(build(name).state_dict())

    def pairs(*layers: str) -> list[str]:
        return [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]

    assert keys("own-sequential") == keys("sequential") == keys("lazy") == pairs("0", "2")
    assert keys("perceptron") == pairs("hidden", "out")
    assert keys("fixed-hidden") == ["rand_weight", *pairs("linear")]
    assert keys("nested") == pairs("net.0", "net.2", "linear")
    assert keys("chimera") == [*pairs("0.net.0", "0.net.2", "0.linear", "1"), "2.rand_weight", *pairs("2.linear")]
    assert keys("regular-net") == pairs(*(f"0.block {index}.{layer}" for index in range(4) for layer in (0, 2)), "1")
    assert keys("tied") == pairs("0", "2", "4", "6")
    assert keys("own-linear") == pairs("0", "1")


def test_tied_layers_are_one() -> None:
    network = build("tied")
    with torch.no_grad():
        network[2].weight[0, 0] = 100
    assert network[4].weight[0, 0] == 100
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == 193


@pytest.mark.parametrize("scale", [1e-3, 1.0, 3.0, 100.0, 1e6, 1e30])
def test_halvings_are_those_of_the_loop(scale: float) -> None:
    torch.manual_seed(3)
    fixed, loop = FixedHidden(features=20).eval(), LoopPerBatch().eval()
    loop.linear, loop.rand_weight = fixed.linear, fixed.rand_weight
    rows = torch.from_numpy(rows_of(16, 20, scale))
    with torch.inference_mode():
        expected = torch.cat([loop(rows[index : index + 1]) for index in range(len(rows))])
        actual = torch.cat([fixed(rows[index : index + 1]) for index in range(len(rows))])
    assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0.5, 0.5), (1.0, 1.0), (1.0000001, 0.50000006), (2.0, 1.0), (2.0000002, 0.50000006), (1024.0, 1.0)],
)
def test_halving_stops_at_one_and_not_before(size: float, expected: float) -> None:
    block = FixedHidden(features=1)
    with torch.no_grad():
        block.linear.weight.fill_(1)
        block.linear.bias.fill_(0)
        block.rand_weight.fill_(0)
        # the linear layer is used twice: 1 after ReLU, then weight * 1 + bias
        block.linear.weight.fill_(size)
    assert block(torch.ones(1, 1)).item() == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("make", [LoopOnData, LoopPerBatch, broken_chimera], ids=lambda make: make.__name__)
def test_a_loop_on_data_is_refused(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    module = deploy(make().eval(), 20)
    with pytest.raises(ExportError, match="decides by its data, and a trace would hold that decision as a constant"):
        to_graph(module, 20, 1, "torchscript", tmp_path)
    with pytest.raises(
        ExportError,
        match=r"decides by its data, but an ONNX graph holds one way only; .*without branches or loops on data",
    ):
        to_graph(module, 20, 1, "onnx", tmp_path)


def test_a_traced_loop_would_fail_parity() -> None:
    torch.manual_seed(4)
    module = deploy(LoopPerBatch().eval(), 20)
    traced = trace(module, torch.from_numpy(rows_of(4, 20)))
    same, other = (
        judge(lambda rows: traced(torch.from_numpy(rows))[0].numpy(), module, rows)
        for rows in (rows_of(4, 20), rows_of(32, 20, 100.0))
    )
    assert same.passed
    assert not other.passed


def test_constant_weights_that_are_no_buffer_do_not_come_back() -> None:
    broken = LoopPerBatch()
    assert "rand_weight" not in broken.state_dict()
    clone = LoopPerBatch()
    clone.load_state_dict(broken.state_dict())
    rows = torch.from_numpy(rows_of(2, 20))
    assert not torch.equal(clone(rows), broken(rows))


def test_modules_in_a_list_are_not_found() -> None:
    assert not list(ListSequential(nn.Linear(20, 10)).parameters())
    assert len(list(own_sequential().parameters())) == 4


def test_a_linear_layer_that_reads_data_cannot_learn() -> None:
    rows = torch.from_numpy(rows_of(2, 64))
    broken, right = DataLinear(64, 8), OwnLinear(64, 8)
    with pytest.raises(RuntimeError, match="does not require grad"):
        broken(rows).sum().backward()
    right.load_state_dict(broken.state_dict())
    assert torch.equal(right(rows), broken(rows))


def test_one_block_registered_four_times_is_counted_once() -> None:
    counts = [sum(p.numel() for p in net.parameters()) for net in (aliased_regular_net(), build("regular-net"))]
    assert counts == [81, 309]


def test_a_lazy_network_before_its_first_row_has_no_weights() -> None:
    with pytest.raises(ValueError, match="uninitialized parameter"):
        sum(parameter.numel() for parameter in nn.Sequential(nn.LazyLinear(3)).parameters())


def test_parity_finds_a_perturbed_weight(tmp_path: Path) -> None:
    module = deploy(build("nested"), 20)
    graph = to_graph(module, 20, 16, "torchscript", tmp_path)
    with torch.no_grad():
        next(module.parameters())[0, 0] += 1e-3
    assert not judge(graph, module, rows_of(32, 20)).passed
