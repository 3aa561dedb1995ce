"""What an export tells while it works, which operator set it writes, and how many rows prove a network."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console
from torch import nn

import export
from export.__main__ import main
from export.errors import ExportError
from export.golden_inputs import COSTLY, COSTLY_FLOPS, USUAL, golden_images, golden_tensors, rows_for
from export.opset import graph_opset
from export.progress import ExportProgress, Step
from serve.bundle import TensorSpec, read_bundle
from serve.golden import read_golden
from tests.export import own_files

FILES = ["graph.onnx", "graph.torchscript.pt", "state_dict.pt", "golden.npz", "model-card.md", "manifest.json"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with somebody's network; what importing it adds to the path is taken off again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return own_files.place(tmp_path)


def run(*more: str) -> int:
    flags = ["--factory", "net.py:Net", "--weights", "net.pth", "--input", "image:uint8[16,16,3]"]
    return main([*flags, "--labels", "labels.txt", "--certify", "none", *more])


def test_every_step_is_a_line_with_its_bytes_and_its_time(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    output, errors = capsys.readouterr()
    lines = [line for line in errors.splitlines() if line.startswith("  ")]
    names = [line[2:32].strip() for line in lines]
    assert names == ["network read, torch loaded", "network looked over", *FILES, "bundle written"]
    assert all(line.endswith(" s") for line in lines)
    bundle = here / "bundles" / "net"
    for name, line in zip(FILES, lines[2:-1], strict=True):
        assert f" {(bundle / name).stat().st_size:,} bytes " in line
    total = sum(path.stat().st_size for path in bundle.iterdir())
    assert f" {total:,} bytes " in lines[-1]
    assert "\x1b" not in errors  # nothing is drawn where nobody looks
    assert output.startswith("bundle ")


def test_a_terminal_shows_what_goes_on() -> None:
    for terminal in (True, False):
        written = io.StringIO()
        console = Console(file=written, force_terminal=terminal, width=120)
        with ExportProgress(console) as progress:
            progress.start("writing onnx")
            progress.done(Step(name="graph.onnx", size_bytes=1234, duration_s=1.5))
            progress.note("labels [a] to [z]")
        text = written.getvalue()
        assert ("writing onnx …" in text) == terminal
        assert "1,234 bytes     1.50 s\n" in text
        assert "note: labels [a] to [z]\n" in text


def test_a_notebook_is_told_of_the_same_steps(here: Path) -> None:
    steps: list[Step] = []
    network = nn.Linear(2, 1)
    with pytest.warns(UserWarning, match="no samples were given"):
        export.bundle(network, here / "two", inputs="x:float32[2]", outputs=["y"], on_step=steps.append)
    assert [step.name for step in steps] == ["network read", "network looked over", *FILES]
    assert [step.size_bytes for step in steps[2:]] == [(here / "two" / name).stat().st_size for name in FILES]
    assert all(step.duration_s >= 0 for step in steps)


@pytest.mark.parametrize("opset", [18, 21])
def test_the_operator_set_that_was_asked_for_is_written_and_stated(opset: int, here: Path) -> None:
    assert run("--opset", str(opset), "--formats", "onnx", "onnx-fp16") == 0
    bundle = here / "bundles" / "net"
    for name in ("graph.onnx", "graph.fp16.onnx"):
        assert graph_opset(onnx.load(bundle / name)) == opset
    notes = {entry.path: entry.note for entry in read_bundle(bundle).manifest.files}
    assert notes["graph.onnx"] == f"ONNX operator set {opset}"
    card = (bundle / "model-card.md").read_text(encoding="utf-8")
    assert f"- `graph.onnx`, when it was made: ONNX operator set {opset}\n" in card


@pytest.mark.parametrize(
    ("opset", "formats", "message"),
    [
        pytest.param(13, ("onnx",), "opset 13 was asked for, but torch .* in opset 18; ask for 18", id="changed"),
        pytest.param(
            99, ("onnx",), "opset 99 was asked for, but ONNX Runtime .* runs no graph in it; ask for a lower", id="late"
        ),
        pytest.param(0, ("onnx",), "opset 0 was asked for, but ONNX Runtime .* runs no graph", id="none"),
        pytest.param(-1, ("onnx",), "opset -1 was asked for, but ONNX Runtime .* runs no graph", id="negative"),
        pytest.param(
            18, ("torchscript",), "--opset 18 is of ONNX, but --formats torchscript writes no graph.onnx", id="no ONNX"
        ),
    ],
)
def test_an_operator_set_that_cannot_be_is_refused(
    opset: int, formats: tuple[str, ...], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--opset", str(opset), "--formats", *formats) == 2
    assert [path for path in (here / "bundles").rglob("*") if path.is_file()] == []
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("error: ")
    assert re.search(message, errors[-1])


def test_a_notebook_asks_for_an_operator_set(here: Path) -> None:
    with pytest.warns(UserWarning, match="no samples were given"):
        export.bundle(nn.Linear(2, 1), here / "two", inputs="x:float32[2]", outputs=["y"], opset=20, formats=["onnx"])
    assert graph_opset(onnx.load(here / "two" / "graph.onnx")) == 20
    with pytest.raises(ExportError, match="opset 99 was asked for"):
        export.bundle(nn.Linear(2, 1), here / "two", inputs="x:float32[2]", outputs=["y"], opset=99)
    assert graph_opset(onnx.load(here / "two" / "graph.onnx")) == 20


def kinds_of(network: nn.Module, here: Path, samples: Path | None) -> list[str]:
    export.bundle(network, here / "rows", inputs="x:float32[4]", outputs=["y"], formats=[], samples=samples)
    golden = read_golden((here / "rows" / "golden.npz").read_bytes())
    return [str(kind) for kind in golden.kind]


@pytest.mark.filterwarnings("ignore:no samples")
@pytest.mark.filterwarnings("ignore:tensors are taken")
def test_a_costly_network_is_proven_on_fewer_rows(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.golden_inputs.COSTLY_FLOPS", 2 * 4 * 2)
    samples = here / "samples.npz"
    np.savez(samples, x=np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    ends = ["zeros", "full"]
    assert kinds_of(nn.Linear(4, 3), here, samples) == ["held-out"] * 10 + ["random"] * 4 + ends
    assert kinds_of(nn.Linear(4, 3), here, None) == ["random"] * 14 + ends
    assert kinds_of(nn.Linear(4, 2), here, samples) == ["held-out"] * 32 + ["random"] * 8 + ends
    assert kinds_of(nn.Linear(4, 2), here, None) == ["random"] * 32 + ends


def test_the_number_of_rows_goes_by_the_operations() -> None:
    assert (rows_for(0), rows_for(COSTLY_FLOPS), rows_for(COSTLY_FLOPS + 1)) == (USUAL, USUAL, COSTLY)
    images = np.zeros((6, 2, 2, 1), dtype=np.uint8)
    assert len(golden_images(images, np.arange(6), COSTLY)[2]) == 6 + 4 + 2
    few, _, _ = golden_tensors((TensorSpec(name="x", dtype="float32", shape=("batch", 3)),), {}, np.empty(0, np.int64))
    assert len(few["x"]) == 34
