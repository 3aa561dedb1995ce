"""A network of one's own and weights from elsewhere become a bundle whose graph is that network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import export
from evaluate.judge import certify
from export.deployable import rebuild, to_float64, wrap_like
from export.errors import ExportError
from export.factory import load_factory
from serve.bundle import Bundle, BundleError, read_bundle
from serve.golden import read_golden
from serve.onnx_runner import OnnxRunner
from serve.preprocess import prepare_image
from tests.conftest import ROOT, run_command
from tests.export import own_files

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with somebody's network; what importing it adds to the path is taken off again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "net", raising=False)  # of another test's folder
    return own_files.place(tmp_path)


def onnx(bundle: Bundle) -> OnnxRunner:
    manifest = bundle.manifest
    content = bundle.read(bundle.entry("onnx", "float32"))
    return OnnxRunner(
        content, name="graph", inputs=manifest.inputs, outputs=manifest.outputs, provider="CPUExecutionProvider"
    )


def close(actual: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_one_command_makes_a_certified_bundle(here: Path) -> None:
    result = run_command(
        *("export", "--factory", "net.py:Net", "--weights", "net.pth", "--input", "image:uint8[16,16,3]"),
        *("--mean", *map(str, MEAN), "--std", *map(str, STD), "--resize", "20", "--labels", "labels.txt"),
        *("--factory-args", "classes=3", "width=4"),
        cwd=here,
    )
    assert "the prefix 'module.' was taken off every name of the weights" in result.stderr
    assert "no samples were given, so the bundle proves itself on noise alone" in result.stderr
    assert [line[:21] for line in result.stderr.splitlines()[-2:]] == ["  certificate (quick)", "  in all".ljust(21)]
    bundle = read_bundle(here / "bundles" / "net")
    manifest = bundle.manifest
    assert (manifest.name, manifest.task, manifest.labels) == ("net", "classification", ("pizza", "steak", "sushi"))
    assert manifest.provenance.factory == "net.py:Net"
    assert manifest.provenance.factory_args == {"classes": 3, "width": 4}
    assert manifest.provenance.factory_sha256 == load_factory("net.py:Net").sha256
    assert '"passed": true' in (bundle.path / "certificate.json").read_text(encoding="utf-8")
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, size=(60, 90, 3), dtype=np.uint8))
    # torchvision's own way from the photo to the network, against the bundle's
    from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

    transform = Compose([Resize(20), CenterCrop(16), ToTensor(), Normalize(MEAN, STD)])
    expected = own_files.build("Net")(transform(photo)[None])
    outputs = onnx(bundle).run({"image": prepare_image(photo, manifest.preprocessing)[None]})
    close(outputs["logits"], expected)
    close(outputs["probabilities"], expected.softmax(dim=1))
    card = (bundle.path / "model-card.md").read_text(encoding="utf-8")
    assert "trained elsewhere: on what, nobody recorded" in card
    assert "carries noise alone to prove itself with, no real samples" in card
    for path in bundle.path.iterdir():
        assert str(here).encode() not in path.read_bytes(), f"{path.name} tells where it was made"


def test_a_bundle_that_proves_nothing_exits_1(here: Path) -> None:
    weights = own_files.save("Ending", last="zeros")
    code = own_files.run(
        *("--factory", "net.py:Ending", "--weights", weights, "--input", "image:uint8[16,16,3]"),
        *("--factory-args", "last=zeros", "--labels", "labels.txt"),
    )
    assert code == 1
    assert (here / "bundles" / "ending" / "manifest.json").exists()


def test_a_table_has_columns_and_samples(here: Path) -> None:
    rows = np.random.default_rng(0).normal([10, 0, 5], [2, 1, 3], size=(50, 3)).astype(np.float32)
    lines = ["age,price,rooms", *(f"{a},{p},{r}" for a, p, r in rows.tolist())]
    (here / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    code = own_files.run(
        *("--factory", "net:Rows", "--weights", own_files.save("Rows"), "--input", "features:float32[3]"),
        *("--columns", "age,price,rooms", "--mean", "10", "0", "5", "--std", "2", "1", "3"),
        *("--targets", "value", "--samples", "rows.csv", "--certify", "none"),
    )
    assert code == 0
    bundle = read_bundle(here / "bundles" / "rows")
    manifest = bundle.manifest
    assert [feature.name for feature in manifest.features] == ["age", "price", "rooms"]
    assert (manifest.task, manifest.labels, manifest.provenance.factory) == ("regression", ("value",), "net:Rows")
    golden = read_golden(bundle.read(bundle.entry("golden")))
    assert (golden.kind == "held-out").sum() == 32
    standardised = (rows - np.float32([10, 0, 5])) / np.float32([2, 1, 3])
    expected = own_files.build("Rows")(torch.from_numpy(standardised))
    close(onnx(bundle).run({"features": rows})["prediction"], expected)


def test_two_inputs_and_two_outputs(here: Path) -> None:
    torch.save(own_files.build("Pair").state_dict(), here / "pair.pt")
    rng = np.random.default_rng(0)
    tokens, grid = rng.integers(0, 20, size=(9, 5)), rng.normal(size=(9, 2, 3)).astype(np.float32)
    np.savez(here / "samples.npz", tokens=tokens, grid=grid)
    code = own_files.run(
        *("--factory", "net.py:Pair", "--weights", "pair.pt"),
        *("--input", "tokens:int64[5]", "--input", "grid:float32[2,3]", "--samples", "samples.npz"),
        *("--certify", "none"),
    )
    assert code == 0
    bundle = read_bundle(here / "bundles" / "pair")
    assert bundle.manifest.task == "tensors"
    assert [(spec.name, spec.shape) for spec in bundle.manifest.outputs] == [
        ("score", ("batch", 1)),
        ("together", ("batch", 4)),
    ]
    expected = own_files.build("Pair")(torch.from_numpy(tokens), torch.from_numpy(grid))
    outputs = onnx(bundle).run({"tokens": tokens, "grid": grid})
    for name, tensor in expected.items():
        close(outputs[name], tensor)


def test_images_in_tensors_out(here: Path) -> None:
    weights = own_files.save("Ending", last="map")
    code = own_files.run(
        *("--factory", "net.py:Ending", "--factory-args", "last=map", "--weights", weights),
        *("--input", "image:uint8[16,16,3]", "--outputs", "features,best", "--certify", "none"),
    )
    assert code == 0
    bundle = read_bundle(here / "bundles" / "ending")
    assert [(spec.name, spec.dtype, spec.shape) for spec in bundle.manifest.outputs] == [
        ("features", "float32", ("batch", 4, 4, 4)),
        ("best", "int64", ("batch",)),
    ]
    images = np.random.default_rng(0).integers(0, 256, size=(3, 16, 16, 3), dtype=np.uint8)
    expected = own_files.build("Ending", last="map")(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    outputs = onnx(bundle).run({"image": images})
    close(outputs["features"], expected["out"])
    assert outputs["best"].tolist() == expected["best"].tolist()


def test_one_logit_and_two_labels_are_a_binary_classification(here: Path) -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="no samples were given"):
        manifest = export.bundle(
            nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)),
            here / "circles",
            inputs="features:float32[2]",
            labels=("outer", "inner"),
        )
    assert manifest.task == "binary-classification"
    assert [spec.shape for spec in manifest.outputs] == [("batch", 1), ("batch", 1)]


def test_a_module_in_python_becomes_a_bundle_and_is_judged_there(here: Path) -> None:
    network = own_files.build("Net").train()
    np.savez("samples.npz", image=np.random.default_rng(0).integers(0, 256, size=(80, 16, 16, 3), dtype=np.uint8))
    export.bundle(network, "bundles/mine", inputs="image:uint8[16,16,3]", labels=["a", "b", "c"], samples="samples.npz")
    assert network.training, "the caller's module was changed"
    bundle = read_bundle(here / "bundles" / "mine")
    assert (bundle.manifest.name, bundle.manifest.provenance.factory) == ("mine", "")
    assert certify(bundle, data_root=here, module=network, quick=True).passed
    with torch.no_grad():
        network.head.bias += 0.1
    assert not certify(bundle, data_root=here, module=network, quick=True).passed
    with pytest.raises(BundleError, match="records no factory, so nothing can build it again; pass the module"):
        rebuild(bundle)


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        pytest.param("net", {}, "module is a str, but a torch.nn.Module was expected", id="no module"),
        pytest.param(
            nn.Flatten(), {"formats": ["tflite"]}, "formats has 'tflite', but only onnx, torchscript", id="format"
        ),
        pytest.param(nn.Flatten(), {"name": "a/b"}, "--name is 'a/b', but only letters", id="name"),
        pytest.param(nn.Flatten(), {}, "there is no --input, but it must be said what the network takes", id="input"),
    ],
)
def test_what_python_gives_is_checked(
    module: object, settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        export.bundle(module, tmp_path / "net", **settings)


def test_a_bundle_is_built_again_only_by_the_factory_it_records(here: Path) -> None:
    args = ("--input", "image:uint8[16,16,3]", "--labels", "labels.txt", "--certify", "none", "--formats", "onnx")
    assert own_files.run("--factory", "net.py:Net", "--weights", "net.pth", *args) == 0
    bundle = read_bundle(here / "bundles" / "net")
    factory = load_factory("net.py:Net")
    images = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    again = rebuild(bundle, factory=factory)(images)
    known = wrap_like(bundle.manifest, own_files.build("Net"))(images)
    assert all(torch.equal(one, other) for one, other in zip(again, known, strict=True))
    with pytest.raises(
        BundleError, match=r"code that a file names is not run; name it yourself, with --factory net\.py"
    ):
        rebuild(bundle)
    with pytest.raises(BundleError, match=r"was built by net\.py:Net, but the factory given is net\.py:build; give"):
        rebuild(bundle, factory=load_factory("net.py:build"))
    with (here / "net.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    with pytest.raises(BundleError, match=r"net\.py:Net has sha256 .* was exported from .* give the file as it was"):
        rebuild(bundle, factory=load_factory("net.py:Net"))


def test_the_reference_is_float64_where_forward_names_float32(here: Path) -> None:
    network = own_files.build("Rows")
    rows = torch.randn(4, 3)
    with pytest.raises(RuntimeError):
        network.double()(rows.double())  # what the plain way comes to
    network.float()
    reference = to_float64(network)(rows)
    cell, double = network.cell, {key: value.double() for key, value in network.state_dict().items()}
    plain = nn.GRUCell(5, 4).double()
    plain.load_state_dict({key.removeprefix("cell."): v for key, v in double.items() if key.startswith("cell.")})
    inner = rows.double() @ double["linear.weight"].T + double["linear.bias"]
    expected = plain(inner, torch.zeros(4, 4).double()) @ double["last.weight"].T + double["last.bias"]
    assert reference.dtype == torch.float64
    torch.testing.assert_close(reference, expected, rtol=1e-14, atol=1e-14)
    assert cell.weight_hh.dtype == torch.float32


def test_an_exported_program_of_ones_own_is_judged_at_once(here: Path) -> None:
    """Of a stranger's bundle, ``evaluate`` would refuse it."""
    args = (
        *("export", "--factory", "net.py:Rows", "--weights", own_files.save("Rows"), "--input", "features:float32[3]"),
        *("--formats", "onnx", "exported-program"),
    )
    result = run_command(*args, cwd=here)
    assert "graph.pt2 on torch CPU: pass" in result.stdout
    result = run_command(*args, "--certify", "none", cwd=here)
    assert "next   python -m evaluate parity bundles/rows --factory net.py:Rows --trust\n" in result.stdout


def test_help_needs_no_torch() -> None:
    code = "import sys, export, export.__main__; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_help_says_what_each_flag_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        own_files.run("--help")
    told = capsys.readouterr().out
    assert "--weights-key KEY" in told
    assert "None}" not in told


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param((), "neither RUN nor --factory is given, but one says what to export", id="nothing"),
        pytest.param(("runs/x", "--mean", "0.5"), "both RUN runs/x and --mean are given, but a run brings", id="both"),
        pytest.param(("runs/x", "--input", "a:int64[2]"), "both RUN runs/x and --input are given", id="input"),
        pytest.param(("--factory", "net.py:Net"), "without --weights, but a network without its weights", id="weights"),
        pytest.param(
            ("--factory", "net.py:Net", "--weights", "net.pth", "--data-root", "."),
            "--data-root is where a RUN's data is, but --factory is given; give --samples",
            id="data",
        ),
    ],
)
def test_flags_that_do_not_go_together(args: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert own_files.run(*args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
