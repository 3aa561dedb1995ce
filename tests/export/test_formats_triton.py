"""Triton's model repository: that its configuration is valid and says what the graph takes."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import tritonclient
from google.protobuf import text_format
from torch import Tensor, nn

from export.errors import ExportError
from export.to_triton import model_config
from serve.bundle import TensorSpec
from tests.export.graph_jobs import LABELS, OUTPUTS, job_of, write


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    """Triton's own definition of its configuration; the package around it wants grpc, which this does not need."""
    path = Path(tritonclient.__file__).parent / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(text: str, schema: ModuleType) -> Any:
    return text_format.Parse(text, schema.ModelConfig())


def test_the_repository_is_what_triton_reads(tmp_path: Path, schema: ModuleType) -> None:
    files = write(job_of(tmp_path), "onnx", "triton")
    assert [(file.path, file.format, file.precision) for file in files] == [
        ("triton/small/config.pbtxt", "triton", None),
        ("triton/small/1/model.onnx", "triton", "float32"),
        ("triton/small/labels.txt", "triton", None),
    ]
    folder = tmp_path / "triton" / "small"
    assert (folder / "1" / "model.onnx").samefile(tmp_path / "graph.onnx")
    assert (folder / "labels.txt").read_text(encoding="utf-8") == "circle\ncross\nline\n"
    config = parse((folder / "config.pbtxt").read_text(encoding="utf-8"), schema)
    assert (config.name, config.platform, config.max_batch_size) == ("small", "onnxruntime_onnx", 64)
    assert config.HasField("dynamic_batching")
    (image,) = config.input
    assert (image.name, image.data_type, list(image.dims)) == ("image", schema.DataType.TYPE_UINT8, [8, 8, 1])
    assert [(output.name, output.data_type, list(output.dims), output.label_filename) for output in config.output] == [
        ("logits", schema.DataType.TYPE_FP32, [3], ""),
        ("probabilities", schema.DataType.TYPE_FP32, [3], "labels.txt"),
    ]


def test_a_misspelt_configuration_would_be_noticed(tmp_path: Path, schema: ModuleType) -> None:
    text = model_config(job_of(tmp_path))
    for wrong in (text.replace("max_batch_size", "max_batch"), text.replace("TYPE_UINT8", "TYPE_U8"), text + "}"):
        with pytest.raises(text_format.ParseError):
            parse(wrong, schema)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("uint8", "TYPE_UINT8"),
        ("int64", "TYPE_INT64"),
        ("float16", "TYPE_FP16"),
        ("float32", "TYPE_FP32"),
        ("float64", "TYPE_FP64"),
    ],
)
def test_dtypes_and_shapes(dtype: Any, expected: str, tmp_path: Path, schema: ModuleType) -> None:
    inputs = (
        TensorSpec(name='odd "name"\\ \u00e9', dtype=dtype, shape=("batch", "length", 4)),
        TensorSpec(name="scalar", dtype=dtype, shape=("batch",)),
    )
    first, second = parse(model_config(job_of(tmp_path, inputs=inputs)), schema).input
    assert (first.name, list(first.dims)) == ('odd "name"\\ \u00e9', [-1, 4])
    assert first.data_type == getattr(schema.DataType, expected)
    assert (list(second.dims), second.HasField("reshape"), list(second.reshape.shape)) == ([1], True, [])


class OneLogit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits = self.layer(image.float().flatten(1))
        return logits, torch.sigmoid(logits)


def test_one_probability_alone_has_no_labels(tmp_path: Path, schema: ModuleType) -> None:
    """Triton names a class after its position: the only position would be called as the first label, and is not it."""
    outputs = tuple(TensorSpec(name=spec.name, dtype="float32", shape=("batch", 1)) for spec in OUTPUTS)
    files = write(job_of(tmp_path, OneLogit(), outputs=outputs, labels=("no", "yes")), "onnx", "triton")
    assert [file.path for file in files] == ["triton/small/config.pbtxt", "triton/small/1/model.onnx"]
    config = parse((tmp_path / "triton/small/config.pbtxt").read_text(encoding="utf-8"), schema)
    assert [output.label_filename for output in config.output] == ["", ""]


@pytest.mark.parametrize("label", ["two\nlines", "", "carriage\rreturn", "next\x85line"])
def test_a_label_that_is_not_one_line_is_refused(label: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"label .* is not one line, but Triton's labels\.txt has one label a line"):
        write(job_of(tmp_path, labels=(*LABELS[:2], label)), "onnx", "triton")


@pytest.mark.parametrize("name", ["../elsewhere", "", ".", "a/b", "a b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError,
        match=r"model name is '.*', but only letters, digits, '\.', '_' and '-' may stand in it; give --name",
    ):
        write(job_of(tmp_path / "bundle", name=name), "onnx", "triton")
    assert not (tmp_path / "bundle" / "triton").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_copy_is_made_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    write(job_of(tmp_path), "onnx", "triton")
    copy = tmp_path / "triton/small/1/model.onnx"
    assert not copy.samefile(tmp_path / "graph.onnx")
    assert copy.read_bytes() == (tmp_path / "graph.onnx").read_bytes()
