"""A graph reads no file: what was checked is all there is; and it runs where it was told to."""

import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serve.bundle import BundleError, TensorSpec, read_bundle
from serve.devices import ProviderError, cuda_fault
from serve.onnx_runner import OnnxRunner, open_runner

SPEC = {"dtype": "uint8", "shape": ("batch", 8)}
WEIGHTS = {"graph.onnx.data": bytes(range(16))}


def graph_with_weights_in(location: str, *, offset: int = 0, length: int = 8) -> bytes:
    """Write a graph that adds eight bytes of another file to what it takes."""
    weights = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, ["batch", 8])],
        [weights],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def open_graph(graph: bytes, weights: dict[str, bytes]) -> OnnxRunner:
    return OnnxRunner(
        graph,
        name="graph.onnx",
        inputs=(TensorSpec(name="x", **SPEC),),
        outputs=(TensorSpec(name="y", **SPEC),),
        provider="CPUExecutionProvider",
        weights=weights,
    )


@pytest.fixture
def beside_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with files that no graph may read, in it and above it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("secret.bin", "graph.onnx.data"):
        for place in (tmp_path, folder):
            (place / name).write_bytes(b"password")
    monkeypatch.chdir(folder)
    return tmp_path


@pytest.mark.parametrize("weights", [{}, WEIGHTS], ids=["none listed", "another listed"])
@pytest.mark.parametrize("location", ["secret.bin", "../secret.bin", "{absolute}", "../graph.onnx.data", ""])
def test_weights_in_another_file_are_refused(location: str, weights: dict[str, bytes], beside_secrets: Path) -> None:
    graph = graph_with_weights_in(location.format(absolute=beside_secrets / "secret.bin"))
    with pytest.raises(BundleError, match=r"cannot be run by ONNX Runtime .*[Ee]xternal (data|file)"):
        open_graph(graph, weights)


def test_weights_are_what_was_handed_over_and_not_what_lies_there(beside_secrets: Path) -> None:
    zeros = np.zeros((2, 8), np.uint8)
    runner = open_graph(graph_with_weights_in("graph.onnx.data", offset=4), dict(WEIGHTS))
    assert runner.run({"x": zeros})["y"].tolist() == [list(range(4, 12))] * 2
    with pytest.raises(BundleError, match="cannot be run by ONNX Runtime"):
        open_graph(graph_with_weights_in("graph.onnx.data", offset=4), {})


@pytest.mark.parametrize(
    ("offset", "length"), [(12, 8), (1 << 40, 8), (-8, 8), ((1 << 63) - 4, 8), (0, 9), (0, 7), (0, -8)]
)
def test_weights_outside_the_file_are_refused(offset: int, length: int) -> None:
    with pytest.raises(BundleError, match="cannot be run by ONNX Runtime"):
        open_graph(graph_with_weights_in("graph.onnx.data", offset=offset, length=length), dict(WEIGHTS))


def test_a_driver_without_cuda_libraries_falls_back_only_where_that_was_left_open(tiny_path: Path) -> None:
    if cuda_fault() is None:
        pytest.skip("this machine has a CUDA device, so a session on it does not fail")
    bundle = read_bundle(tiny_path)
    entry = bundle.entry("onnx")
    assert entry is not None
    options = {"name": "g", "inputs": bundle.manifest.inputs, "outputs": bundle.manifest.outputs}
    runner, fault = open_runner(bundle.read(entry), provider="CUDAExecutionProvider", fall_back=True, **options)
    assert runner.provider == "CPUExecutionProvider"
    assert fault is not None
    assert fault.startswith("not on CUDAExecutionProvider: g ")
    with pytest.raises(ProviderError, match="use --provider cpu"):
        open_runner(bundle.read(entry), provider="CUDAExecutionProvider", fall_back=False, **options)


def _endless_graph() -> bytes:
    """Write a graph with a loop whose condition stays true, and which nothing ends."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["again"]),
            helper.make_node("Identity", ["value"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.UINT8, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.UINT8, None),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["true"], value=helper.make_tensor("true", TensorProto.BOOL, [], [True])),
            helper.make_node("Loop", ["", "true", "x"], ["y"], body=body),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, ["batch", 8])],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def test_a_loop_without_an_end_is_given_up() -> None:
    endless = open_graph(_endless_graph(), {}).limited(0.2)
    with pytest.raises(RuntimeError, match=r"its runs did not end within 0\.2 s"):
        endless.run({"x": np.zeros((2, 8), np.uint8)})


def test_all_runs_have_one_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    runner = open_graph(graph_with_weights_in("graph.onnx.data"), WEIGHTS).limited(60)
    limits: list[float] = []

    class Timer(threading.Timer):
        def __init__(self, interval: float, *rest: object) -> None:
            limits.append(interval)
            super().__init__(1000.0, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(threading, "Timer", Timer)
    batch = {"x": np.zeros((2, 8), np.uint8)}
    for now[0] in (110.0, 159.0):
        runner.run(batch)
    assert limits == [50.0, 1.0]
    now[0] = 160.0
    with pytest.raises(RuntimeError, match="its runs did not end within 60 s"):
        runner.run(batch)


def test_a_limit_leaves_what_ends_as_it_is() -> None:
    runner = open_graph(graph_with_weights_in("graph.onnx.data"), WEIGHTS)
    batch = {"x": np.ones((2, 8), np.uint8)}
    assert np.array_equal(runner.limited(60).run(batch)["y"], runner.run(batch)["y"])
    with pytest.raises(Exception, match="x"):
        runner.limited(60).run({"x": np.zeros((2, 8), np.float32)})
