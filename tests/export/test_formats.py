"""Every format: what it writes, that it is the same twice, that it tells no secrets, and what it refuses."""

import io
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from export.errors import ExportError
from export.formats import DEFAULT_FORMATS, FORMATS
from export.graph_job import GraphFile
from export.onnx_graph import GRAPH, open_graph, weights_path, write_graph
from export.to_exported_program import load_exported_program
from export.to_onnx import export_onnx
from serve.bundle import FileEntry
from serve.onnx_runner import OnnxRunner
from tests.export.graph_jobs import INPUTS, LABELS, OUTPUTS, ROWS, Small, before, job_of, write

Written = Callable[[str], tuple[Path, tuple[GraphFile, ...]]]
DERIVED = ("onnx-fp16", "onnx-int8", "triton")


class Branch(Small):
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, probabilities = super().forward(image)
        return (logits, probabilities) if logits.sum() > 0 else (-logits, probabilities)


class IntOfShape(Small):
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, probabilities = super().forward(image)
        return logits.reshape(int(image.shape[0]), 3), probabilities


class OneOutput(Small):
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, probabilities = super().forward(image)
        return logits[:, :2], probabilities


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def unpacked(content: bytes) -> list[bytes]:
    """Return a file, and what is in it where it is an archive."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return [content]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [content, *(archive.read(name) for name in archive.namelist())]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return the folder with one format and what it is made from, and the files listed; not to be changed."""

    @cache
    def written(name: str) -> tuple[Path, tuple[GraphFile, ...]]:
        folder = tmp_path_factory.mktemp(name)
        return folder, write(job_of(folder), *before(name))

    return written


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_same_module_is_the_same_bytes_twice_and_tells_no_place(
    name: str, written: Written, tmp_path: Path
) -> None:
    folder, files = written(name)
    for file in files:
        assert (folder / file.path).is_file()
        FileEntry(path=file.path, format=file.format, precision=file.precision, size_bytes=0, sha256="")
    assert write(job_of(tmp_path), *before(name)) == files
    first = contents(folder)
    assert first == contents(tmp_path)
    places = [
        str(place).encode() for place in (Path(torch.__file__).parents[1], Path.cwd(), Path.home(), tmp_path, folder)
    ]
    for path, content in first.items():
        for part in unpacked(content):
            assert not any(place in part for place in places), path


@pytest.mark.parametrize("name", list(FORMATS))
def test_nothing_is_left_over_besides_what_a_format_returns(name: str, written: Written) -> None:
    folder, files = written(name)
    listed = {GRAPH} if name in DERIVED else set()
    assert set(contents(folder)) == listed | {file.path for file in files}


def test_a_changed_weight_changes_the_bytes_of_every_format(tmp_path: Path) -> None:
    changed = Small()
    with torch.no_grad():
        changed.head.weight[0, 0] += 0.5
    for folder, module in (("one", Small()), ("two", changed)):
        job = job_of(tmp_path / folder, module)
        for name in FORMATS:
            FORMATS[name](job)
    same = [path for path, content in contents(tmp_path / "one").items() if content == contents(tmp_path / "two")[path]]
    assert same == ["triton/small/config.pbtxt", "triton/small/labels.txt"]


def test_the_default_is_what_needs_no_choice() -> None:
    assert set(DEFAULT_FORMATS) <= set(FORMATS)
    assert not set(DEFAULT_FORMATS) & set(DERIVED)


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_made_from_the_float32_graph_needs_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=rf"{name} is made from graph\.onnx, which is not written; give --formats onnx"
    ):
        write(job_of(tmp_path), name)


@pytest.mark.parametrize(("opset", "written"), [(13, 18), (99, 18)], ids=["before torch's", "of the future"])
def test_an_opset_that_the_exporter_changes_is_refused(opset: int, written: int, tmp_path: Path) -> None:
    message = rf"opset {opset} was asked for, but torch .* writes this model in opset {written}; ask for {written}, or"
    with pytest.raises(ExportError, match=message):
        write(job_of(tmp_path, opset=opset), "onnx")


@pytest.mark.parametrize("opset", [18, 21])
def test_an_opset_that_was_asked_for_is_written(opset: int, tmp_path: Path) -> None:
    job = job_of(tmp_path, opset=opset)
    write(job, "onnx")
    model = onnx.load(tmp_path / GRAPH)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [opset]
    expected = job.module(torch.from_numpy(ROWS))[0].detach().numpy()
    np.testing.assert_allclose(open_graph(tmp_path / GRAPH, job).run({"image": ROWS})["logits"], expected, atol=1e-6)


class TestExportedProgram:
    def test_gives_what_the_module_gives_at_any_batch(self, tmp_path: Path) -> None:
        job = job_of(tmp_path)
        (file,) = write(job, "exported-program")
        assert (file.path, file.format, file.precision) == ("graph.pt2", "exported-program", "float32")
        graph = load_exported_program((tmp_path / "graph.pt2").read_bytes())
        for rows in (1, 3, 128):
            batch = torch.from_numpy(ROWS[:rows])
            with torch.inference_mode():
                for actual, expected in zip(graph(batch), job.module(batch), strict=True):
                    torch.testing.assert_close(actual, expected)

    def test_holds_no_pickle_and_none_of_the_examples(self, tmp_path: Path) -> None:
        write(job_of(tmp_path), "exported-program")
        with zipfile.ZipFile(tmp_path / "graph.pt2") as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        assert records["archive/data/sample_inputs/model.pt"] == b""
        assert not any(ROWS[:1].tobytes() in record for record in records.values())
        assert not any(record.startswith((b"PK", b"\x80")) for record in records.values())
        assert all(b'"use_pickle": true' not in record for record in records.values())

    def test_of_a_stranger_runs_what_he_likes_when_it_is_loaded(self, tmp_path: Path) -> None:
        """Why docs/formats.md says to load nobody's but one's own: torch 2.15 reads pickles without restriction."""

        class Planted:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "touched",))

        write(job_of(tmp_path), "exported-program")
        stream = io.BytesIO()
        with zipfile.ZipFile(tmp_path / "graph.pt2") as archive:
            writer = torch._C.PyTorchFileWriter(stream)
            for name in (name.removeprefix("archive/") for name in archive.namelist()):
                record = archive.read(f"archive/{name}")
                if name == "data/sample_inputs/model.pt":
                    buffer = io.BytesIO()
                    torch.save(((Planted(),), {}), buffer)
                    record = buffer.getvalue()
                if name not in {".data/version", "byteorder", ".data/serialization_id"}:
                    writer.write_record(name, record, len(record))
            writer.write_end_of_file()
        stream.seek(0)
        torch.export.load(stream)
        assert (tmp_path / "touched").exists()

    @pytest.mark.parametrize(
        ("module", "sentence"),
        [
            (
                Branch,
                r"Branch, at .+\.py:\d+ \(.+\), decides by its data, but an exported program holds one way only; ",
            ),
            (IntOfShape, r"IntOfShape(, at .+,)? cannot be captured by torch\.export \(.+\); look for branches"),
        ],
    )
    def test_a_decision_on_data_or_a_frozen_batch_is_refused(
        self, module: type[nn.Module], sentence: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ExportError, match=sentence):
            write(job_of(tmp_path, module()), "exported-program")

    def test_other_shapes_than_promised_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(
            ExportError, match=r"the exported program returns .* at batch 1, but .*; check what forward"
        ):
            write(job_of(tmp_path, OneOutput()), "exported-program")

    def test_says_nothing_on_the_terminal(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(ExportError):
            write(job_of(tmp_path, Branch()), "exported-program")
        write(job_of(tmp_path), "exported-program")
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 1 << 21])
def test_a_graph_is_written_as_protobuf_writes_it(size: int, tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(np.arange(count, dtype=np.uint8), f"w{count}") for count in (size, 5)]
    graph = helper.make_graph([helper.make_node("Identity", ["w5"], ["y"])], "graph", [], [], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], producer_name="test")
    expected = model.SerializeToString(deterministic=True)
    write_graph(model, tmp_path / GRAPH)
    found = onnx.ModelProto.FromString((tmp_path / GRAPH).read_bytes())
    assert found.SerializeToString(deterministic=True) == expected
    assert (tmp_path / GRAPH).stat().st_size == len(expected)


class TestLargeModels:
    """More than 100 kB counts as large here; 1.9 GB otherwise."""

    @pytest.mark.parametrize(
        ("name", "graph"), [("onnx", GRAPH), ("onnx-fp16", "graph.fp16.onnx"), ("onnx-int8", "graph.int8.onnx")]
    )
    def test_the_weights_lie_beside_the_graph(
        self, name: str, graph: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # a file of the same name in the working directory stops onnx.save
        monkeypatch.chdir(tmp_path.parent)
        (tmp_path.parent / f"{graph}.data").touch()
        (tmp_path.parent / "graph.onnx.data").touch()
        job = job_of(tmp_path, Small(width=4_000), inline_bytes=100_000)
        files = write(job, *before(name))
        assert [(file.path, file.format) for file in files] == [(graph, "onnx"), (f"{graph}.data", "onnx-data")]
        assert (tmp_path / graph).stat().st_size < 100_000
        assert weights_path(tmp_path / graph).stat().st_size > 100_000
        assert {path for path in contents(tmp_path) if not path.startswith(graph)} <= {GRAPH, f"{GRAPH}.data"}
        expected = job.module(torch.from_numpy(ROWS))[0].detach().numpy()
        actual = open_graph(tmp_path / graph, job).run({"image": ROWS})["logits"]
        np.testing.assert_allclose(actual, expected, atol={"onnx": 1e-5, "onnx-fp16": 1e-2, "onnx-int8": 1e-1}[name])

    def test_triton_gets_them_too(self, tmp_path: Path) -> None:
        job = job_of(tmp_path, Small(width=4_000), inline_bytes=100_000)
        paths = [file.path for file in write(job, *before("triton"))]
        assert "triton/small/1/graph.onnx.data" in paths
        assert (tmp_path / "triton/small/1/graph.onnx.data").samefile(tmp_path / "graph.onnx.data")

    def test_a_threshold_just_met_keeps_one_file(self, tmp_path: Path) -> None:
        job = job_of(tmp_path)
        size = sum(tensor.numel() * 4 for tensor in (*job.module.parameters(), *job.module.buffers()))
        for name, slack, count in (("in", 100, 1), ("out", -4, 2)):
            assert len(write(job_of(tmp_path / name, inline_bytes=size + slack), "onnx")) == count

    def test_a_graph_does_not_run_without_the_weights_beside_it(self, tmp_path: Path) -> None:
        write(job_of(tmp_path, inline_bytes=0), "onnx")
        with pytest.raises(ValueError, match="cannot be run by ONNX Runtime"):
            OnnxRunner(
                (tmp_path / GRAPH).read_bytes(),
                name=GRAPH,
                inputs=INPUTS,
                outputs=OUTPUTS,
                provider="CPUExecutionProvider",
            )

    def test_the_same_bytes_twice(self, tmp_path: Path) -> None:
        for folder in ("one", "two"):
            export_onnx(
                job_of(tmp_path / folder).module,
                (torch.from_numpy(ROWS[:2]),),
                tmp_path / folder / GRAPH,
                inputs=INPUTS,
                outputs=OUTPUTS,
                inline_bytes=0,
            )
        assert contents(tmp_path / "one") == contents(tmp_path / "two")
        assert len(contents(tmp_path / "one")) == 2


def test_labels_of_these_tests_are_those_of_their_outputs() -> None:
    assert OUTPUTS[1].shape == ("batch", len(LABELS))
