"""Formats inside a bundle: what the manifest and the model card say of them, and that others can read it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.draft import Draft
from export.errors import ExportError
from export.formats import FORMATS
from export.opset import graph_opset
from export.write import write_bundle
from serve.bundle import BundleError, ImagePreprocessing, Provenance, read_bundle
from serve.onnx_runner import OnnxRunner
from tests.conftest import run_command
from tests.export.graph_jobs import INPUTS, LABELS, OUTPUTS, ROWS, Small


def draft_of(module: Small) -> Draft:
    return Draft(
        name="small",
        title="Three shapes",
        task="classification",
        labels=LABELS,
        module=module.eval(),
        weights=module.state_dict(),
        inputs=INPUTS,
        outputs=OUTPUTS,
        preprocessing=ImagePreprocessing(color="L", height=8, width=8),
        features=(),
        provenance=Provenance(
            recipe=None,
            factory="by hand",
            factory_args={},
            mean=(),
            std=(),
            seed=0,
            dataset="noise",
            dataset_sha256="0" * 64,
            device="cpu",
            versions={},
            source_revision=None,
        ),
        golden_inputs={"image": ROWS[:34]},
        golden_class_index=np.full(34, -1),
        golden_kind=np.array(["held-out"] * 34),
        calibration={"image": ROWS},
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a bundle with every format."""
    path = tmp_path_factory.mktemp("bundles") / "small"
    write_bundle(path, draft_of(Small()), formats=tuple(FORMATS))
    return path


def test_every_file_is_listed_with_what_it_is(path: Path) -> None:
    files = read_bundle(path).manifest.files
    assert [(file.path, file.format, file.precision) for file in files] == [
        ("graph.onnx", "onnx", "float32"),
        ("graph.torchscript.pt", "torchscript", "float32"),
        ("graph.pt2", "exported-program", "float32"),
        ("graph.fp16.onnx", "onnx", "float16"),
        ("graph.int8.onnx", "onnx", "int8"),
        ("triton/small/config.pbtxt", "triton", None),
        ("triton/small/1/model.onnx", "triton", "float32"),
        ("triton/small/labels.txt", "triton", None),
        ("state_dict.pt", "state-dict", None),
        ("golden.npz", "golden", None),
        ("model-card.md", "model-card", None),
    ]
    listed = {file.path for file in files} | {"manifest.json"}
    assert {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} == listed


def test_what_was_measured_stands_in_manifest_and_card(path: Path) -> None:
    notes = {file.path: file.note for file in read_bundle(path).manifest.files if file.note}
    assert set(notes) == {"graph.onnx", "graph.fp16.onnx", "graph.int8.onnx"}
    assert notes["graph.onnx"] == f"ONNX operator set {graph_opset(onnx.load(path / 'graph.onnx'))}"
    card = (path / "model-card.md").read_text(encoding="utf-8")
    for name, note in notes.items():
        assert f"- `{name}`, when it was made: {note}\n" in card
    assert "has judged `graph.onnx`, `graph.torchscript.pt`, `graph.pt2`, `graph.fp16.onnx`, `graph.int8.onnx`." in card


def test_each_precision_is_found_and_runs(path: Path) -> None:
    bundle = read_bundle(path)
    for precision in ("float32", "float16", "int8"):
        entry = bundle.entry("onnx", precision)
        assert entry is not None
        runner = OnnxRunner(
            bundle.read(entry), name=entry.path, inputs=INPUTS, outputs=OUTPUTS, provider="CPUExecutionProvider"
        )
        assert runner.run({"image": ROWS[:3]})["probabilities"].shape == (3, 3)


def test_a_byte_changed_in_tritons_copy_is_noticed_and_mended_by_another_export(tmp_path: Path) -> None:
    path = tmp_path / "small"
    write_bundle(path, draft_of(Small()), formats=("onnx", "triton"))
    config = path / "triton" / "small" / "config.pbtxt"
    config.write_bytes(config.read_bytes().replace(b"64", b"65"))
    with pytest.raises(BundleError, match=r"triton/small/config\.pbtxt has sha256"):
        read_bundle(path)
    write_bundle(path, draft_of(Small()), formats=("onnx", "triton"))
    read_bundle(path)


def test_a_file_of_ones_own_among_tritons_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "small"
    write_bundle(path, draft_of(Small()), formats=("onnx", "triton"))
    (path / "triton" / "small" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ExportError, match=r"holds triton/small/notes\.txt, which is no part of the bundle"):
        write_bundle(path, draft_of(Small()), formats=("onnx", "triton"))


@pytest.mark.slow
def test_int8_of_the_clothes_loses_at_most_half_a_point_and_float16_nothing(
    fashion_run: Path, data_root: Path, tmp_path: Path
) -> None:
    root = ("--data-root", str(data_root))
    formats = ("onnx", "onnx-fp16", "onnx-int8")
    run_command("export", str(fashion_run), "--out", "bundle", "--formats", *formats, *root, cwd=tmp_path)
    run_command("evaluate", "parity", "bundle", *root, cwd=tmp_path)
    certificate = json.loads((tmp_path / "bundle" / "certificate.json").read_text(encoding="utf-8"))
    decisions = {
        graph["graph"]: graph["reduced"]["decisions"] for graph in certificate["graphs"] if graph["reduced"] is not None
    }
    assert {name: entry["labelled_rows"] for name, entry in decisions.items()} == {
        "graph.fp16.onnx": 10_000,
        "graph.int8.onnx": 10_000,
    }
    assert abs(decisions["graph.fp16.onnx"]["accuracy_drop"]) <= 0.0005
    assert decisions["graph.int8.onnx"]["accuracy_drop"] <= 0.005
