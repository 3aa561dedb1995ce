"""Fixtures that more than one package's tests use: real data, and one trained, exported, certified bundle."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run_command(*args: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run ``python -m …`` as a user would, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-m", *args],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if check:
        assert result.returncode == 0, f"{args} exited {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets."""
    root = os.environ.get("DATA_ROOT")
    if not root:
        pytest.skip("DATA_ROOT is not set, so there is no real data to test with")
    path = Path(root).resolve()
    if not (path / "FashionMNIST" / "raw").is_dir():
        pytest.skip(f"DATA_ROOT has no FashionMNIST/raw, so there is no Fashion-MNIST to test with: {path}")
    return path


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the session's runs and bundles are made."""
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="session")
def digits_run(workplace: Path) -> Path:
    """Path of a digits run, trained with the recipe's own settings."""
    run_command("train", "run", "digits", cwd=workplace)
    return workplace / "runs" / "digits"


@pytest.fixture(scope="session")
def digits_bundle(workplace: Path, digits_run: Path) -> Path:
    """Path of a digits bundle: trained, exported, certified."""
    run_command("export", str(digits_run), cwd=workplace)
    bundle = workplace / "bundles" / "digits"
    run_command("evaluate", "parity", str(bundle), cwd=workplace)
    return bundle


@pytest.fixture(scope="session")
def fashion_run(workplace: Path, data_root: Path) -> Path:
    """Path of a fashion-tinyvgg run on the real Fashion-MNIST, trained with the recipe's own settings."""
    run_command("train", "run", "fashion-tinyvgg", "--data-root", str(data_root), cwd=workplace)
    return workplace / "runs" / "fashion-tinyvgg"


@pytest.fixture(scope="session")
def fashion_bundle(workplace: Path, fashion_run: Path, data_root: Path) -> Path:
    """Path of a fashion-tinyvgg bundle: trained, exported, certified."""
    run_command("export", str(fashion_run), "--data-root", str(data_root), cwd=workplace)
    bundle = workplace / "bundles" / "fashion-tinyvgg"
    run_command("evaluate", "parity", str(bundle), "--data-root", str(data_root), cwd=workplace)
    return bundle
