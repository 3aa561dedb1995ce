"""float16 and int8: what is computed in them, what is not, and when they are refused."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from export import to_int8
from export.calibrate import METHODS, measure_ranges
from export.closeness import Closeness, compare, measure_closeness
from export.errors import ExportError
from export.onnx_graph import GRAPH, open_graph
from serve.bundle import TensorSpec
from tests.export.graph_jobs import LABELS, ROWS, Small, job_of, write

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


class OneLogit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self.layer(image.to(self.layer.weight.dtype).flatten(1) / 255),)


class Table(nn.Module):
    """Standardise columns, fill in what is missing, and give the probability of one class, as bundles do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        standard = (torch.where(features.isnan(), torch.full_like(features, 1e6), features) - 1e6) / 10
        logits = self.layers(standard.to(self.layers[0].weight.dtype))
        both = torch.softmax(torch.cat([torch.zeros_like(logits), logits], dim=1), dim=1)
        return logits, both[:, 1:]


class NoLayers(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits = (image.float() / 255).flatten(1)[:, : len(LABELS)]
        return logits, torch.softmax(logits, dim=1)


def with_weight(value: float) -> Small:
    module = Small()
    with torch.no_grad():
        next(module.layers.parameters())[0, 0, 0, 0] = value
    return module


def dtypes(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every value of a graph."""
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    graph = model.graph
    values = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)
    }
    return values | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the small network in float32, float16 and int8."""
    folder = tmp_path_factory.mktemp("reduced")
    write(job_of(folder), "onnx", "onnx-fp16", "onnx-int8")
    return folder


class TestFloat16:
    def test_layers_are_half_and_what_surrounds_them_is_not(self, folder: Path) -> None:
        model = onnx.load(folder / "graph.fp16.onnx")
        onnx.checker.check_model(model, full_check=True)
        found = dtypes(model)
        for node in model.graph.node:
            if node.op_type in {"Conv", "Relu", "MaxPool", "Gemm"}:
                assert found[node.output[0]] == HALF, node.op_type
            if node.op_type in {"Div", "Sub", "Softmax"}:
                assert {found[name] for name in (*node.input, *node.output)} == {FLOAT}, node.op_type
        assert [found[value.name] for value in (*model.graph.input, *model.graph.output)] == [
            TensorProto.UINT8,
            FLOAT,
            FLOAT,
        ]
        weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer if "weight" in tensor.name}
        assert set(weights.values()) == {HALF}

    def test_values_are_rounded_once_on_the_way_in_and_never_on_the_way_out(self, folder: Path) -> None:
        model = onnx.load(folder / "graph.fp16.onnx")
        found = dtypes(model)
        casts = [(found[node.input[0]], found[node.output[0]]) for node in model.graph.node if node.op_type == "Cast"]
        assert Counter(casts) == {(TensorProto.UINT8, FLOAT): 1, (FLOAT, HALF): 1, (HALF, FLOAT): 2}

    def test_the_normalisation_is_as_exact_as_float32s(self, tmp_path: Path) -> None:
        """A float16 of a pixel's 1 / 255 is off by up to 2e-4 of it, and this mean cancels all but that."""
        job = job_of(tmp_path, Small(scale=1000))
        write(job, "onnx", "onnx-fp16")
        flat = np.full((1, 8, 8, 1), 64, np.uint8)
        expected = job.module(torch.from_numpy(flat))[0].detach().numpy()
        actual = open_graph(tmp_path / "graph.fp16.onnx", job).run({"image": flat})["logits"]
        np.testing.assert_allclose(actual, expected, rtol=5e-3, atol=2e-3)

    def test_what_was_measured_stands_in_the_note(self, tmp_path: Path) -> None:
        (file,) = write(job_of(tmp_path), "onnx", "onnx-fp16")
        assert (file.path, file.format, file.precision) == ("graph.fp16.onnx", "onnx", "float16")
        assert re.fullmatch(
            r"\d+ of 128 decisions differ from float32's, SQNR [67]\d\.\d dB over 128 rows; "
            r"the greatest value inside was [\d.]+ of at most 65,504",
            file.note,
        )

    def test_without_training_rows_the_examples_are_taken(self, tmp_path: Path) -> None:
        (file,) = write(job_of(tmp_path, calibration={}), "onnx", "onnx-fp16")
        assert "over 2 rows" in file.note

    def test_values_beyond_float16_are_refused_with_the_layer(self, tmp_path: Path) -> None:
        module = Small()
        with torch.no_grad():
            module.head.weight.mul_(60_000 / module.head.weight.abs().max())
            module.head.bias.fill_(60_000)
        message = (
            r"layer head \(Gemm\) gives values beyond float16's 65,504 on real rows; leave onnx-fp16 out, or normalise"
        )
        with pytest.raises(ExportError, match=message):
            write(job_of(tmp_path, module), "onnx", "onnx-fp16")

    @pytest.mark.parametrize("weight", [65_536.0, float("inf"), float("nan")])
    def test_weights_beyond_float16_are_refused_not_cut_off(self, weight: float, tmp_path: Path) -> None:
        with pytest.raises(
            ExportError, match=r"weight layers\.0\.weight reaches .*, but float16 ends at 65,504; leave"
        ):
            write(job_of(tmp_path, with_weight(weight)), "onnx", "onnx-fp16")

    def test_the_greatest_weight_is_allowed(self, tmp_path: Path) -> None:
        write(job_of(tmp_path, with_weight(65_504.0)), "onnx", "onnx-fp16")

    def test_a_network_without_layers_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(
            ExportError, match=r"has no layer of Conv, .* nothing to compute in float16; leave onnx-fp16"
        ):
            write(job_of(tmp_path, NoLayers()), "onnx", "onnx-fp16")


class TestInt8:
    def test_only_layers_are_quantised_and_outputs_are_not_rounded(self, folder: Path) -> None:
        model = onnx.load(folder / "graph.int8.onnx")
        onnx.checker.check_model(model, full_check=True)
        producer = {name: node for node in model.graph.node for name in node.output}
        consumers = {name: node for node in model.graph.node for name in node.input}
        for node in model.graph.node:
            if node.op_type in {"Conv", "Gemm"}:
                assert [producer[name].op_type for name in node.input] == ["DequantizeLinear"] * 3
            if node.op_type == "Softmax":
                assert producer[node.input[0]].op_type == "Gemm"
        assert producer["logits"].op_type == "Gemm"
        assert consumers["logits"].op_type == "Softmax"
        found = dtypes(model)
        assert [found[value.name] for value in model.graph.output] == [FLOAT, FLOAT]

    def test_weights_have_a_scale_per_channel_and_seven_bits(self, folder: Path) -> None:
        tensors = {
            tensor.name: onnx.numpy_helper.to_array(tensor)
            for tensor in onnx.load(folder / "graph.int8.onnx").graph.initializer
        }
        for name, channels in (("layers.0.weight", 4), ("head.weight", 3)):
            quantised = tensors[f"{name}_quantized"]
            assert quantised.dtype == np.int8
            assert tensors[f"{name}_scale"].shape == (channels,)
            assert np.abs(quantised.astype(int)).max() <= 64

    def test_every_method_was_tried_and_the_best_taken(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes = {"MinMax": (1, 30.0), "Entropy": (0, 20.0), "Percentile": (0, 25.0)}
        tried: list[str] = []

        def measure(*_: Any, **__: Any) -> Closeness:
            method = METHODS[len(tried)]
            tried.append(method)
            flips, sqnr_db = sizes[method]
            return Closeness(rows=64, flips=flips, sqnr_db=sqnr_db)

        monkeypatch.setattr(to_int8, "measure_closeness", measure)
        job = job_of(folder)
        (file,) = write(job, "onnx-int8")
        assert tried == list(METHODS)
        assert file.note == (
            "Percentile calibration over 64 rows, chosen on others "
            "(MinMax: 1 of 64 decisions differ from float32's, SQNR 30.0 dB over 64 rows; "
            "Entropy: 0 of 64 decisions differ from float32's, SQNR 20.0 dB over 64 rows; "
            "Percentile: 0 of 64 decisions differ from float32's, SQNR 25.0 dB over 64 rows)"
        )

    def test_the_float32_graph_is_run_on_them_once(self, tmp_path: Path, monkeypatch: Any) -> None:
        opened: list[str] = []

        def note(path: Path, job: Any, **options: Any) -> Any:
            opened.append(path.name)
            return open_graph(path, job, **options)

        monkeypatch.setattr("export.closeness.open_graph", note)
        write(job_of(tmp_path), "onnx", "onnx-int8")
        assert sorted(opened) == ["graph.int8.onnx"] * 3 + ["graph.onnx"]

    def test_the_rows_that_choose_are_not_those_that_calibrate(self, tmp_path: Path, monkeypatch: Any) -> None:
        seen: dict[str, set[bytes]] = {"ranges": set(), "chosen": set()}

        def ranges(source: Any, rows: Any, **options: Any) -> Any:
            seen["ranges"] |= {row.tobytes() for row in rows["image"]}
            return measure_ranges(source, rows, **options)

        def measure(candidate: Any, reference: Any, rows: Any, job: Any) -> Closeness:
            seen["chosen"] |= {row.tobytes() for row in rows["image"]}
            return measure_closeness(candidate, reference, rows, job)

        monkeypatch.setattr(to_int8, "measure_ranges", ranges)
        monkeypatch.setattr(to_int8, "measure_closeness", measure)
        write(job_of(tmp_path), "onnx", "onnx-int8")
        assert len(seen["ranges"]) == len(seen["chosen"]) == 64
        assert not seen["ranges"] & seen["chosen"]

    @pytest.mark.parametrize("rows", [0, 15])
    def test_too_few_training_rows_are_refused(self, rows: int, tmp_path: Path) -> None:
        calibration = {"image": ROWS[:rows]} if rows else {}
        message = rf"on rows of the training data, and here are {rows}, but at least 16 are needed; export a run whose"
        with pytest.raises(ExportError, match=message):
            write(job_of(tmp_path, calibration=calibration), "onnx", "onnx-int8")

    def test_just_enough_rows_will_do(self, tmp_path: Path) -> None:
        (file,) = write(job_of(tmp_path, calibration={"image": ROWS[:16]}), "onnx", "onnx-int8")
        assert "over 8 rows" in file.note

    def test_a_network_without_layers_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="has no Conv, Gemm, MatMul, so there is nothing to compute in int8"):
            write(job_of(tmp_path, NoLayers()), "onnx", "onnx-int8")

    def test_answers_do_not_depend_on_the_neighbours(self, folder: Path) -> None:
        runner = open_graph(folder / "graph.int8.onnx", job_of(folder))
        together = runner.run({"image": ROWS})["logits"]
        alone = np.concatenate([runner.run({"image": ROWS[row : row + 1]})["logits"] for row in range(8)])
        np.testing.assert_array_equal(together[:8], alone)


@pytest.mark.parametrize(
    ("actual", "expected", "flips", "sqnr_db"),
    [
        pytest.param([[1, 0], [0, 1]], [[1, 0], [0, 1]], 0, np.inf, id="equal"),
        pytest.param([[1, 0], [1, 0]], [[1, 0], [0, 1]], 1, 0.0, id="one flip, as much error as signal"),
        pytest.param(
            [[0.9, 0], [0, 1]], [[1, 0], [0, 1]], 0, 10 * np.log10(2 / 0.01), id="an error that flips nothing"
        ),
        pytest.param([[0.5], [-2]], [[-0.5], [-2]], 1, 10 * np.log10(4.25), id="one logit is decided by its sign"),
    ],
)
def test_closeness(actual: Any, expected: Any, flips: int, sqnr_db: float) -> None:
    found = compare(np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64), decisive=True)
    assert (found.rows, found.flips) == (2, flips)
    assert found.sqnr_db == pytest.approx(sqnr_db, rel=1e-5)


def test_a_regression_has_no_decisions(tmp_path: Path) -> None:
    prediction = (TensorSpec(name="prediction", dtype="float32", shape=("batch", 1)),)
    job = job_of(tmp_path, OneLogit(), outputs=prediction)
    for name in ("onnx-fp16", "onnx-int8"):
        (file,) = write(job, "onnx", name)
        assert "decisions" not in file.note
        assert "dB over" in file.note


@pytest.mark.parametrize("name", ["onnx-fp16", "onnx-int8"])
def test_a_table_with_missing_values_and_large_ones(name: str, tmp_path: Path) -> None:
    """A column around a million has 21 float32 values in ten, and no float16: it must not be rounded as it comes in."""
    table = (1e6 + 10 * np.random.default_rng(0).normal(size=(64, 3))).astype(np.float32)
    table[::5, 1] = np.nan
    job = job_of(
        tmp_path,
        Table(),
        inputs=(TensorSpec(name="features", dtype="float32", shape=("batch", 3)),),
        outputs=tuple(
            TensorSpec(name=output, dtype="float32", shape=("batch", 1)) for output in ("logits", "probabilities")
        ),
        examples=(torch.from_numpy(table[:2]),),
        calibration={"features": table},
        labels=("no", "yes"),
    )
    (file,) = write(job, "onnx", name)
    expected = [values.detach().numpy() for values in job.module(torch.from_numpy(table))]
    actual = open_graph(tmp_path / file.path, job).run({"features": table})
    for have, want in zip(actual.values(), expected, strict=True):
        np.testing.assert_allclose(have, want, atol=2e-3 if name == "onnx-fp16" else 5e-2)


def test_the_best_comes_first_and_nan_last() -> None:
    def closeness(flips: int | None, sqnr_db: float) -> Closeness:
        return Closeness(rows=9, flips=flips, sqnr_db=sqnr_db)

    ranked = [closeness(0, np.inf), closeness(0, 30), closeness(0, 20), closeness(1, 90), closeness(2, -5)]
    for broken in (closeness(0, np.nan), closeness(1, -np.inf), closeness(None, np.nan)):
        worst_first = [broken, *ranked[::-1]]
        assert sorted(worst_first, key=lambda entry: entry.order) == [*ranked, broken]


def test_ir_of_the_float32_graph_describes_no_weight_twice(folder: Path) -> None:
    """Why `write_beside` drops descriptions of weights: torch's exporter writes them."""
    model = onnx.load(folder / GRAPH)
    weights = {tensor.name for tensor in model.graph.initializer}
    assert weights & {value.name for value in model.graph.value_info}, "torch writes them no more: simplify"
    assert onnx_ir.load(folder / "graph.fp16.onnx").graph.initializers
