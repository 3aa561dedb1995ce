"""The base install alone serves a bundle: no torch, no onnx, nothing of the checkout on the path."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest
from PIL import Image

from serve.bundle import read_bundle
from serve.golden import read_golden
from tests.serving import serving

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def base_python() -> str:
    """Interpreter of an environment that holds the base install only; `make test` makes it."""
    python = ROOT / ".venv-base" / "bin" / "python"
    if not python.exists():
        message = ".venv-base is not there, so the base install cannot be tried; `make test` makes it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return str(python)


@pytest.fixture(scope="module")
def base_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def test_the_base_install_has_no_torch(base_python: str, base_environment: dict[str, str], tmp_path: Path) -> None:
    for module in ("torch", "torchvision", "onnx", "sklearn", "matplotlib"):
        result = subprocess.run(
            [base_python, "-c", f"import {module}"],
            cwd=tmp_path,
            env=base_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"No module named '{module}'" in result.stderr


def test_what_needs_the_train_extra_says_so(
    base_python: str, base_environment: dict[str, str], digits_bundle: Path, tmp_path: Path
) -> None:
    for command in (["train", "run", "digits"], ["export", "runs/digits"], ["evaluate", "parity", str(digits_bundle)]):
        result = subprocess.run(
            [base_python, "-m", *command],
            cwd=tmp_path,
            env=base_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 2, result.stderr
        assert "pip install 'facsimile[train]'" in result.stderr
        assert "Traceback" not in result.stderr


def test_the_base_install_serves_a_bundle(
    base_python: str, base_environment: dict[str, str], digits_bundle: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(digits_bundle)
    entry = bundle.entry("golden")
    assert entry is not None
    golden = read_golden(bundle.read(entry))
    with (
        serving(str(digits_bundle), python=base_python, cwd=tmp_path, environment=base_environment) as served,
        httpx.Client(base_url=served.url, timeout=60) as client,
    ):
        for index in range(4):
            Image.fromarray(golden.inputs["image"][index, :, :, 0]).save(tmp_path / f"{index}.png")
            reply = client.post("/predict/digits", content=(tmp_path / f"{index}.png").read_bytes())
            assert reply.status_code == 200, reply.text
            expected = bundle.manifest.labels[golden.reference["logits"][index].argmax()]
            assert reply.json()["label"] == expected
        page = client.get("/")
        assert page.status_code == 200
        assert "gradio" in page.text
    out = subprocess.run(
        [base_python, "-m", "serve.batch", str(digits_bundle), str(tmp_path), "--out", "predictions.csv", "--json"],
        cwd=tmp_path,
        env=base_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout)["files"] == 4
