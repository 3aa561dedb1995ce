"""Fixtures of the evaluate tests."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from altered import copy_bundle


@pytest.fixture
def wrong_bundle(digits_bundle: Path, tmp_path: Path) -> Path:
    """Path of a copy of the digits bundle that a test may spoil."""
    return copy_bundle(digits_bundle, tmp_path / "wrong")


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``python -m evaluate`` in this process; returns exit code, stdout and stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        from evaluate.__main__ import main

        code = main(list(args))
        captured = capsys.readouterr()
        return code, " ".join(captured.out.split()), captured.err

    return run


@pytest.fixture(scope="session")
def own_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of bundles of own networks, by class name; not to be changed."""
    from own_bundles import write_own_bundle

    folder = tmp_path_factory.mktemp("own")
    return {name: write_own_bundle(name, folder) for name in ("TwoInputs", "TwoOutputs", "RootOfSignal")}


@pytest.fixture(scope="session")
def reduced_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of bundles with float16 and int8 graphs: of labelled rows, and of tensors; not to be changed."""
    from own_bundles import write_own_bundle

    folder, formats = tmp_path_factory.mktemp("reduced"), ("onnx", "onnx-fp16", "onnx-int8")
    return {
        "TwoInputs": write_own_bundle("TwoInputs", folder, formats=formats, labelled=True),
        "TwoOutputs": write_own_bundle("TwoOutputs", folder, formats=formats),
    }
