"""Formats made from the float32 graph: the same as with its weights inside, in less memory."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator, load_tensors_data
from onnxruntime.transformers.float16 import convert_np_to_float16
from torch import Tensor, nn

from export.calibrate import BATCH, METHODS, measure_ranges
from export.errors import ExportError
from export.onnx_graph import GRAPH, open_graph, weights_path
from export.to_fp16 import _half_graph, _to_half
from export.to_int8 import LAYERS
from export.weights_beside import is_beside, read_tensor, write_beside
from serve.bundle import TensorSpec
from tests.export.graph_jobs import OUTPUTS, job_of, write

WIDTH = 192  # squared and in float32: more than what stays in the graph
TOKENS = np.random.default_rng(0).integers(0, 200, (64, 5))


class Words(nn.Module):
    """Look words up in a table that stays float32, and use one weight before the layers and in them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(200, WIDTH)
        self.layers = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        rows = self.words(tokens)
        rows = rows + self.layers[0].weight.sum(dim=0)
        logits = self.head(self.layers(rows).mean(dim=1))
        return logits, torch.softmax(logits, dim=1)


def job_of_words(folder: Path, **options: Any) -> Any:
    return job_of(
        folder,
        Words(),
        inputs=(TensorSpec(name="tokens", dtype="int64", shape=("batch", 5)),),
        outputs=OUTPUTS,
        examples=(torch.from_numpy(TOKENS[:2]),),
        calibration={"tokens": TOKENS},
        **options,
    )


@pytest.fixture(scope="module", params=[None, 0], ids=["one file", "two files"])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A job whose ``graph.onnx`` is written, with its weights inside or in a file of their own."""
    options = {} if request.param is None else {"inline_bytes": request.param}
    job = job_of_words(tmp_path_factory.mktemp("job"), **options)
    write(job, "onnx")
    return job


def test_the_copy_is_the_same_graph_with_its_large_weights_outside(job: Any, tmp_path: Path) -> None:
    path = write_beside(job, "onnx-fp16", tmp_path)
    assert weights_path(path).stat().st_size > path.stat().st_size
    slim, whole = onnx.load(path, load_external_data=False), onnx.load(job.folder / GRAPH)
    assert slim.graph.node == whole.graph.node
    assert (slim.graph.input, slim.graph.output) == (whole.graph.input, whole.graph.output)
    tensors = {tensor.name: tensor for tensor in whole.graph.initializer}
    assert [tensor.name for tensor in slim.graph.initializer] == list(tensors)
    for tensor in slim.graph.initializer:
        expected = onnx.numpy_helper.to_array(tensors[tensor.name])
        np.testing.assert_array_equal(read_tensor(tensor, tmp_path), expected)
        assert is_beside(tensor) == (expected.nbytes > 1 << 16)
    assert sum(map(is_beside, slim.graph.initializer)) == 3
    assert not {value.name for value in slim.graph.value_info} & set(tensors)
    expected = open_graph(job.folder / GRAPH, job).run({"tokens": TOKENS})["logits"]
    np.testing.assert_array_equal(open_graph(path, job).run({"tokens": TOKENS})["logits"], expected)
    np.testing.assert_allclose(open_graph(path, job, lean=True).run({"tokens": TOKENS})["logits"], expected, atol=1e-5)


def test_without_a_graph_there_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"onnx-fp16 is made from graph\.onnx, which is not written; give --formats"):
        write_beside(job_of_words(tmp_path), "onnx-fp16", tmp_path)


def test_float16_is_the_same_whether_weights_are_converted_with_the_graph_or_after_it(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, most in (("after", 1 << 16), ("with", 1 << 40)):
        monkeypatch.setattr("export.weights_beside.SMALL_BYTES", most)
        monkeypatch.setattr("export.onnx_graph.SMALL_BYTES", 1 << 16)
        (tmp_path / name).mkdir()
        found.append(_half_graph(write_beside(job, "onnx-fp16", tmp_path / name)))
    after, together = found
    dtypes = {tensor.name: tensor.data_type for tensor in after.graph.initializer}
    assert dtypes["words.weight"] == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.FLOAT16 in dtypes.values()
    assert after == together


def test_weights_are_rounded_as_the_converter_rounds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.to_fp16._PIECE", 7)
    edges = [0, 1e-9, -1e-9, 5.96e-8, 6e-8, 65_504, -65_504, 70_000, 1 / 3, -1 / 3]
    values = np.array([*edges, *np.random.default_rng(0).normal(size=90)], np.float32).reshape(10, 10)
    assert _to_half(values) == convert_np_to_float16(values).tobytes()


class Reader:
    """Hands out batches as onnxruntime.quantization wants them."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self._batches = [batch]

    def get_next(self) -> dict[str, Any] | None:
        return self._batches.pop() if self._batches else None


@pytest.mark.parametrize("method", METHODS)
def test_ranges_are_those_of_onnxruntime_quantization(method: str, job: Any, tmp_path: Path) -> None:
    source = write_beside(job, "onnx-int8", tmp_path)
    rows = TOKENS[:-3]  # the last batch is not full
    found = measure_ranges(source, {"tokens": rows}, operators=LAYERS, folder=tmp_path)
    calibrator = create_calibrator(
        source,
        list(LAYERS),
        str(tmp_path / "augmented.onnx"),
        CalibrationMethod[method],
        use_external_data_format=True,
    )
    for start in range(0, len(rows) - BATCH + 1, BATCH):
        calibrator.collect_data(Reader({"tokens": rows[start : start + BATCH]}))
    expected, actual = calibrator.compute_data(), load_tensors_data(found[method])
    assert actual.calibration_method == CalibrationMethod[method]
    assert set(actual.keys()) == set(expected.keys())
    assert len(set(actual.keys())) >= 4
    for name, value in expected.items():
        for have, want in zip(actual[name].range_value, value.range_value, strict=True):
            assert have.dtype == np.float32
            np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    assert not (tmp_path / "ranges.onnx").exists()


def test_the_exporter_keeps_no_weights(tmp_path: Path) -> None:
    """onnxscript's rewriting rules keep the last graph, with the weights of convolutions that they have computed."""

    def kept() -> int:
        gc.collect()
        tensors = (value for value in gc.get_objects() if type(value).__name__ == "Value" and hasattr(value, "name"))
        return sum(getattr(value.const_value, "nbytes", 0) or 0 for value in tensors if value.is_initializer())

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(1, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(64 * 36, 3))

        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            logits = self.layers(image.float().permute(0, 3, 1, 2))
            return logits, torch.softmax(logits, dim=1)

    before = kept()
    write(job_of(tmp_path, Block()), "onnx")
    assert kept() <= before
