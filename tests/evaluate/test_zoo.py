"""The zoo: weights that show every part, results that are kept, one architecture the whole way, and the page."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluate.__main__ import main
from evaluate.zoo import run
from evaluate.zoo.page import page
from evaluate.zoo.pictures import draw_pictures
from evaluate.zoo.result import Graph, Result, Settings, current_settings, read_result, write_result
from evaluate.zoo.weights import architectures, build, side_of, smallest_first
from train.lock import lock_folder

SETTINGS = current_settings(side=None, full=False, seed=0)
GRAPH = Graph(
    graph="graph.onnx",
    provider="CPUExecutionProvider",
    optimized=True,
    size_bytes=2**21,
    batch_sizes=(1, 2, 7, 32),
    rows=100,
    rmse_ratio=1.25,
    max_ratio=2.5,
    verdict="pass",
    reason=None,
)
RESULT = Result(
    name="alexnet",
    side=224,
    settings=SETTINGS,
    source_revision="0" * 40,
    machine="a machine",
    parameters=2_500_000,
    flops=1_500_000_000,
    export_s=12.0,
    certify_s=34.0,
    peak_bytes=2**30,
    graphs=(GRAPH, replace(GRAPH, graph="graph.torchscript.pt", rmse_ratio=1.0, max_ratio=1.0)),
    failure=None,
)
FAILED = replace(RESULT, name="vgg11", graphs=(), failure="error: it cannot be exported")


def silent(*_: object) -> None:
    """Hear nothing."""


def test_there_are_about_eighty_and_the_smallest_come_first() -> None:
    names = architectures()
    assert len(names) >= 80
    assert {"resnet50", "vit_b_16", "convnext_tiny", "efficientnet_b0", "swin_t"} <= set(names)
    assert not any("rcnn" in name or "segmentation" in name for name in names)
    ordered = smallest_first(names)
    assert sorted(ordered) == sorted(names)
    assert ordered.index("squeezenet1_1") < ordered.index("resnet50") < ordered.index("vit_h_14")


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1"])
def test_weights_are_the_same_each_time_and_every_part_shows(name: str) -> None:
    side = side_of(name)
    one, two = (build(name, side=side, seed=3) for _ in range(2))
    other = build(name, side=side, seed=4)
    state = one.state_dict()
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in state.items())
    assert not all(torch.equal(value, other.state_dict()[key]) for key, value in state.items())
    constant = [key for key, value in one.named_parameters() if value.numel() > 1 and value.min() == value.max()]
    assert constant == []
    images = torch.from_numpy(draw_pictures(4, side=side, seed=9)).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        outputs = one(images)
    assert not one.training
    assert torch.isfinite(outputs).all()
    assert (outputs.std(dim=0) > 1e-3 * outputs.abs().max()).float().mean() > 0.5


def test_a_head_of_zeros_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def vit(_: str, weights: object) -> nn.Module:
        head = nn.Linear(12, 5)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), head)

    monkeypatch.setattr("torchvision.models.get_model", vit)
    with torch.inference_mode():
        outputs = build("vit", side=8, seed=0)(torch.rand(3, 3, 8, 8))
    assert outputs.std(dim=0).min() > 0


def test_pictures_differ_from_one_another() -> None:
    pictures = draw_pictures(6, side=32, seed=1)
    assert pictures.shape == (6, 32, 32, 3)
    assert len({picture.tobytes() for picture in pictures}) == 6
    assert np.ptp(pictures.reshape(6, -1).mean(axis=1)) > 10


def test_what_passed_is_kept_and_what_failed_with_another_source_is_examined_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined: list[str] = []

    def examine(name: str, folder: Path, *, settings: Settings) -> Result:
        assert folder.is_dir()
        examined.append(name)
        return replace(RESULT, name=name, settings=settings, source_revision="now")

    monkeypatch.setattr(run, "examine", examine)
    monkeypatch.setattr(run, "source_revision", lambda: "now")
    write_result(tmp_path, RESULT)
    write_result(tmp_path, FAILED)
    write_result(tmp_path, replace(FAILED, name="vgg13", source_revision="now"))
    write_result(tmp_path, replace(RESULT, name="vgg16", settings=replace(SETTINGS, seed=7)))
    (tmp_path / "vgg19.json").write_text("{", encoding="utf-8")
    names = ("alexnet", "vgg11", "vgg13", "vgg16", "vgg19")

    def go(*, again: bool = False) -> tuple[Result, ...]:
        return run.examine_all(
            names,
            tmp_path,
            settings=SETTINGS,
            page=tmp_path / "zoo.md",
            again=again,
            on_start=silent,
            on_result=silent,
        )

    assert {result.name for result in go()} == set(names)
    assert examined == ["vgg11", "vgg16", "vgg19"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    text = (tmp_path / "zoo.md").read_text(encoding="utf-8")
    assert "**4 of 80 architectures pass in every graph**; 5 were examined" in text
    go(again=True)
    assert examined[3:] == list(names)


def test_what_was_being_examined_when_it_stopped_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> Result:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "examine", stop)
    with pytest.raises(KeyboardInterrupt):
        run.examine_all(("alexnet",), tmp_path, settings=SETTINGS, page=None, on_start=silent, on_result=silent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_what_a_kill_left_goes_at_the_next_start_but_not_what_another_works_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine(name: str, folder: Path, *, settings: Settings) -> Result:
        assert folder.is_dir()
        return replace(RESULT, name=name, settings=settings)

    monkeypatch.setattr(run, "examine", examine)
    killed, busy, foreign = (tmp_path / f".{name}" for name in ("vgg11.zoo-aaaaaaaa", "vgg13.zoo-bbbbbbbb", "vgg16.a"))
    for folder in (killed, busy, foreign):
        (folder / "new" / "bundle").mkdir(parents=True)
    for folder in (killed, busy):
        (folder / "facsimile-zoo").write_text("")
    lock = lock_folder(busy)
    assert lock is not None
    run.examine_all(("alexnet",), tmp_path, settings=SETTINGS, page=None, on_start=silent, on_result=silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".vgg13.zoo-bbbbbbbb", ".vgg16.a", "alexnet.json"]
    os.close(lock)
    run.examine_all(("alexnet",), tmp_path, settings=SETTINGS, page=None, on_start=silent, on_result=silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".vgg16.a", "alexnet.json"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_a_killed_process_leaves_what_the_next_one_finds(tmp_path: Path) -> None:
    """What stands there while an architecture is examined has the name and the mark that are looked for."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from evaluate.zoo import run\n"
        "from evaluate.zoo.result import current_settings\n"
        "run.examine = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run.examine_all(('alexnet',), Path(sys.argv[1]), settings=current_settings(side=None, full=False, seed=0), "
        "page=None, on_start=lambda *_: None, on_result=lambda *_: None)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] != []
    write_result(tmp_path, RESULT)
    run.examine_all(("alexnet",), tmp_path, settings=SETTINGS, page=None, on_start=silent, on_result=silent)
    assert [path.name for path in tmp_path.iterdir()] == ["alexnet.json"]


def test_the_page_says_what_does_not_pass_and_why() -> None:
    unproven = replace(GRAPH, verdict="unproven", reason="it varies by 0", rmse_ratio=None)
    text = page([RESULT, FAILED, replace(RESULT, name="vit_b_16", graphs=(unproven,))], settings=SETTINGS, of=80)
    rows = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("| `")}
    assert "| 1.25 | 2.50 | 1.00 | 1.00 |" in rows["alexnet"]
    assert rows["alexnet"].endswith("| pass |")
    assert rows["vgg11"].endswith("| **not written** |")
    assert rows["vit_b_16"].endswith("| **unproven** |")
    assert "- `vgg11`: error: it cannot be exported." in text
    assert "- `vit_b_16`: graph.onnx: it varies by 0." in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


@pytest.mark.slow
def test_one_architecture_goes_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "squeezenet1_1", "--out", str(tmp_path), "--side", "64"]) == 0
    assert f"1 of 1 architectures pass; {tmp_path / 'zoo.md'}" in capsys.readouterr().out
    result = read_result(tmp_path, "squeezenet1_1")
    assert result is not None
    assert result.passed
    assert {1, 2, 7, 32} <= set(result.graphs[0].batch_sizes)
    assert result.peak_bytes > 2**28
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert main(["zoo", "squeezenet1_1", "--out", str(tmp_path), "--side", "64"]) == 0
    assert "kept" in capsys.readouterr().err


def test_unknown_architectures_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "resnet51", "--out", str(tmp_path)]) == 2
    assert "'resnet51' is none of torchvision's" in capsys.readouterr().err


def test_a_file_in_the_way_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "zoo").write_text("")
    assert main(["zoo", "alexnet", "--out", str(tmp_path / "zoo")]) == 2
    assert "zoo cannot be a folder (File exists)" in capsys.readouterr().err


def test_a_commands_own_memory_is_measured_not_its_parents(tmp_path: Path) -> None:
    ballast = np.ones(25_000_000)
    file = tmp_path / "peak.txt"
    for module, code in (("this", 0), ("evaluate.zoo.nothing", 1)):
        command = [sys.executable, "-m", "evaluate.zoo.measured", str(file), module]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code
        assert 2**20 < int(file.read_text(encoding="ascii")) < ballast.nbytes / 2
        file.unlink()
