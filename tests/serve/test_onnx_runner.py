"""A graph reads no file: what was checked is all there is."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from serve.bundle import BundleError, TensorSpec
from serve.onnx_runner import OnnxRunner

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
