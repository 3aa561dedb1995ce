"""A graph reads no file, what was checked is all there is; and it runs where it was told to."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from serve.bundle import BundleError, TensorSpec, read_bundle
from serve.devices import ProviderError, cuda_fault
from serve.onnx_runner import OnnxRunner, open_runner

SPEC = {"dtype": "uint8", "shape": ("batch", 8)}


@pytest.mark.parametrize("location", ["secret.bin", "../secret.bin", "{absolute}"])
def test_weights_in_another_file_are_refused(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "secret.bin").write_bytes(b"password")
    monkeypatch.chdir(folder)
    weights = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location.format(absolute=tmp_path / "secret.bin")), ("length", "8")):
        weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, ["batch", 8])],
        [weights],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(BundleError, match=r"cannot be run by ONNX Runtime .*[Ee]xternal data"):
        OnnxRunner(
            model.SerializeToString(),
            name="graph.onnx",
            inputs=(TensorSpec(name="x", **SPEC),),
            outputs=(TensorSpec(name="y", **SPEC),),
            provider="CPUExecutionProvider",
        )


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
