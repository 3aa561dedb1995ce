"""The commands as a user types them: exit codes, sentences, tables, JSON."""

import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from altered import copy_bundle
from onnx import numpy_helper

from evaluate.commands.written import report
from evaluate.resealed import change_manifest, replace_file
from serve.bundle import read_bundle, read_certificate

Evaluate = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("command", ["parity", "accuracy", "bench"])
def test_a_missing_bundle_is_trouble(command: str, evaluate: Evaluate, tmp_path: Path) -> None:
    code, out, err = evaluate(command, str(tmp_path / "nothing"))
    assert code == 2
    assert out == ""
    assert err == (
        f"error: {tmp_path / 'nothing'} does not exist, but a bundle directory was expected; "
        "make one with `python -m export RUN`\n"
    )


def test_an_incomplete_bundle_is_trouble(wrong_bundle: Path, evaluate: Evaluate) -> None:
    (wrong_bundle / "manifest.json").unlink()
    code, _, err = evaluate("parity", str(wrong_bundle))
    assert code == 2
    assert "has no manifest.json, so it is no bundle or its export did not finish" in err


@pytest.mark.parametrize(
    "name",
    [
        "graph.onnx",
        "graph.torchscript.pt",
        "state_dict.pt",
        "golden.npz",
        "model-card.md",
        "manifest.json",
        "certificate.json",
    ],
)
def test_one_flipped_byte_in_any_file_is_trouble(
    name: str, wrong_bundle: Path, digits_bundle: Path, evaluate: Evaluate
) -> None:
    content = bytearray((digits_bundle / name).read_bytes())
    content[random.Random(name).randrange(len(content))] ^= 1
    (wrong_bundle / name).write_bytes(bytes(content))
    command = "accuracy" if name == "certificate.json" else "parity"  # which makes that one anew
    code, _, err = evaluate(command, str(wrong_bundle))
    assert code == 2
    assert err.startswith(f"error: {wrong_bundle / name} ")
    assert err.count("\n") == 1


def test_a_certificate_of_another_bundle_is_trouble(
    wrong_bundle: Path, digits_bundle: Path, evaluate: Evaluate
) -> None:
    (wrong_bundle / "certificate.json").write_bytes((digits_bundle / "certificate.json").read_bytes())
    change_manifest(wrong_bundle, lambda manifest: manifest)
    assert evaluate("accuracy", str(wrong_bundle))[0] == 0, "the same manifest again is the same bundle"
    from dataclasses import replace

    change_manifest(wrong_bundle, lambda manifest: replace(manifest, name="other"))
    code, _, err = evaluate("accuracy", str(wrong_bundle))
    assert code == 2
    assert "certifies bundle" in err


@pytest.mark.parametrize("content", [b"{", b"", None])
def test_a_damaged_certificate_is_made_again(
    content: bytes | None, digits_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    bundle = copy_bundle(digits_bundle, tmp_path / "bundle")
    assert evaluate("parity", str(bundle), "--quick")[0] == 0
    path = bundle / "certificate.json"
    path.write_bytes(path.read_bytes().replace(b'"rows"', b'"rowz"', 1) if content is None else content)
    assert "make it again" in evaluate("accuracy", str(bundle))[2]
    assert evaluate("parity", str(bundle), "--quick")[0] == 0
    assert evaluate("accuracy", str(bundle))[0] == 0


def test_samples_below_one_are_trouble(digits_bundle: Path, evaluate: Evaluate) -> None:
    code, _, err = evaluate("parity", str(digits_bundle), "--samples", "0")
    assert code == 2
    assert err == "error: --samples is 0, but at least 1 is needed to prove anything\n"


def test_cuda_that_is_not_there_is_trouble(digits_bundle: Path, evaluate: Evaluate) -> None:
    from serve.devices import cuda_fault

    if cuda_fault() is None:
        pytest.skip("this machine has a CUDA device, so asking for it is no trouble")
    code, _, err = evaluate("parity", str(digits_bundle), "--provider", "cuda")
    assert code == 2
    assert err.startswith("error: provider is cuda, but ")


def test_parity_writes_a_certificate_bound_to_the_bundle(digits_bundle: Path) -> None:
    bundle = read_bundle(digits_bundle)
    certificate = json.loads((digits_bundle / "certificate.json").read_text(encoding="utf-8"))
    assert certificate["bundle_sha256"] == bundle.manifest.sha256
    assert certificate["passed"] is True
    assert certificate["setting"]["held_out_rows"] == 360
    assert certificate["setting"]["versions"].keys() == {"python", "torch", "onnx", "onnxruntime", "numpy"}


def test_no_certificate_where_none_is_wanted(wrong_bundle: Path, evaluate: Evaluate) -> None:
    assert evaluate("parity", str(wrong_bundle), "--no-certificate", "--samples", "50")[0] == 0
    assert not (wrong_bundle / "certificate.json").exists()


@pytest.mark.parametrize("command", ["parity", "accuracy", "blame"])
def test_json_into_a_missing_folder_is_refused_before_anything_runs(
    command: str, wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    for place in (tmp_path / "missing" / "a.json", tmp_path):
        code, out, err = evaluate(command, str(wrong_bundle), "--json", str(place))
        assert (code, out) == (2, "")
        assert err == (
            f"error: --json is {place}, but that is no place for a file; give a file in a folder that exists\n"
        )


def test_json_that_cannot_be_written_does_not_cost_the_certificate(
    wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    place = tmp_path / ("x" * 250)  # its temporary name is longer than a name may be
    code, out, err = evaluate("parity", str(wrong_bundle), "--json", str(place), "--samples", "50")
    assert code == 2
    assert "error: " in err
    assert "graph.onnx" in out
    assert read_certificate(read_bundle(wrong_bundle)) is not None
    assert not place.exists()


@pytest.mark.skipif(os.name != "posix", reason="named pipes are made otherwise there")
def test_json_into_a_pipe_leaves_the_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    try:
        report({"passed": True}, lambda _, __: None, pipe)
        assert json.loads(os.read(reader, 100)) == {"passed": True}
    finally:
        os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param(("blame", "bundle"), "stopped; nothing was written\n", id="blame"),
        pytest.param(("zoo",), "stopped; what is done is kept, and the same command goes on from there\n", id="zoo"),
        pytest.param(
            ("faults",), "stopped; what is done is kept, and the same command goes on from there\n", id="faults"
        ),
    ],
)
def test_whoever_stops_a_command_learns_what_is_left(
    command: tuple[str, ...], message: str, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"evaluate.__main__.run_{command[0]}", stop)
    code, _, err = evaluate(*command)
    assert code == 130
    assert err.endswith(message)


def test_json_on_stdout_replaces_the_table(
    wrong_bundle: Path, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = evaluate("parity", str(wrong_bundle), "--json", "-", "--samples", "50")
    assert code == 0
    assert json.loads(out)["passed"] is True


def test_accuracy_shows_every_graph_beside_eager(digits_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    path = tmp_path / "accuracy.json"
    code, out, _ = evaluate("accuracy", str(digits_bundle), "--json", str(path))
    assert code == 0
    assert "accuracy of digits on 360 test samples of digits" in out
    graphs = json.loads(path.read_text(encoding="utf-8"))["graphs"]
    assert [row["graph"] for row in graphs] == ["eager", "graph.onnx", "graph.torchscript.pt"]
    assert len({row["correct"] for row in graphs}) == 1
    assert all(row["correct"] / row["rows"] == row["top1_accuracy"] >= 0.97 for row in graphs)
    assert [row["unlike_eager"] for row in graphs] == [None, 0, 0]


def test_accuracy_shows_labels_that_no_error_excuses(wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    """A graph of other weights: its labels differ where the reference is sure, and that is counted."""
    model = onnx.load_from_string((wrong_bundle / "graph.onnx").read_bytes())
    weight = max((tensor for tensor in model.graph.initializer if len(tensor.dims) == 2), key=lambda t: t.dims[0])
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    replace_file(wrong_bundle, "graph.onnx", model.SerializeToString())
    path = tmp_path / "accuracy.json"
    assert evaluate("accuracy", str(wrong_bundle), "--json", str(path))[0] == 0
    spoilt = json.loads(path.read_text(encoding="utf-8"))["graphs"][1]
    assert spoilt["graph"] == "graph.onnx"
    assert spoilt["unlike_eager"] > 100
    assert spoilt["unlike_within_error"] < 10


def test_a_fault_of_the_harness_is_trouble_and_not_a_failed_parity(
    wrong_bundle: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the harness itself is broken")

    monkeypatch.setattr("evaluate.judge.certify", broken)
    code, _, err = evaluate("parity", str(wrong_bundle))
    assert code == 2
    assert "RuntimeError: the harness itself is broken" in err


def test_without_the_data_parity_uses_what_the_bundle_carries(
    fashion_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    code, out, _ = evaluate("parity", str(fashion_bundle), "--no-certificate", "--data-root", str(tmp_path))
    assert code == 0
    assert "held-out samples: the bundle's own 32, because fashion-mnist is not here" in out
    assert list(tmp_path.iterdir()) == []
    code, _, err = evaluate("accuracy", str(fashion_bundle), "--data-root", str(tmp_path))
    assert code == 2
    assert "give --data-root where it is, or train once to download it" in err


@pytest.mark.slow
def test_fashion_mnist_lands_in_the_notes_band_and_every_graph_agrees(
    fashion_bundle: Path, data_root: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    """The notes print 88.38 %. All 10,000 images: every label unlike eager's lies within the error."""
    path = tmp_path / "accuracy.json"
    assert evaluate("accuracy", str(fashion_bundle), "--data-root", str(data_root), "--json", str(path))[0] == 0
    graphs = json.loads(path.read_text(encoding="utf-8"))["graphs"]
    assert [row["rows"] for row in graphs] == [10_000] * 3
    for row in graphs:
        assert abs(row["top1_accuracy"] - 0.884) <= 0.007
        assert row["unlike_eager"] == row["unlike_within_error"]
    certificate = json.loads((fashion_bundle / "certificate.json").read_text(encoding="utf-8"))
    assert certificate["passed"] is True


def test_a_pickle_in_place_of_the_weights_is_trouble_and_not_run(
    wrong_bundle: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    replace_file(wrong_bundle, "state_dict.pt", pickle.dumps(Runs()))
    code, _, err = evaluate("parity", str(wrong_bundle))
    assert code == 2
    assert "state_dict.pt does not fit train.models.digits_cnn:DigitsCNN (" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "ran").exists()
