"""Fixtures that more than one package's tests use: real data, and one trained, exported, certified bundle."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from train.one_at_a_time import one_at_a_time

ROOT = Path(__file__).resolve().parent.parent
Make = Callable[..., Path]
# As the README has them: what `digits_run` and `digits_bundle` are made with, and `test_docs` need not run once more.
TRAIN_DIGITS = "train run digits --overwrite"
EXPORT_DIGITS = "export runs/digits"
CERTIFY_DIGITS = "evaluate parity bundles/digits"

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests recorded with `record_property`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


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


@pytest.fixture(autouse=True)
def _any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide as through any pipe, wherever the tests run."""
    monkeypatch.delenv("COLUMNS", raising=False)


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
    """Folder with the session's runs and bundles, as the fixtures below put them there."""
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory, workplace: Path) -> Make:
    """Make a run or bundle with commands, once for all processes that share the tests, and copy it to the workplace."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"

    def make(path: str, *commands: Sequence[str]) -> Path:
        lock = shared / path.replace("/", "-")
        with one_at_a_time(lock):  # its own words are of downloads: nobody reads them here
            if not (lock / "done").exists():
                for command in commands:
                    run_command(*command, cwd=shared)
                (lock / "done").touch()
        return Path(shutil.copytree(shared / path, workplace / path))

    return make


@pytest.fixture(scope="session")
def digits_run(make: Make) -> Path:
    """Path of a digits run, trained with the recipe's own settings."""
    return make("runs/digits", TRAIN_DIGITS.split())


@pytest.fixture(scope="session")
def digits_bundle(make: Make, digits_run: Path) -> Path:
    """Path of a digits bundle: trained, exported, certified."""
    return make("bundles/digits", EXPORT_DIGITS.split(), CERTIFY_DIGITS.split())


@pytest.fixture(scope="session")
def fashion_run(make: Make, data_root: Path) -> Path:
    """Path of a fashion-tinyvgg run on the real Fashion-MNIST, trained as the recipe says but for one thread.

    Beside other tests the recipe's two threads wait for each other: four times the time, and of both cores.
    """
    root = ("--data-root", str(data_root))
    return make("runs/fashion-tinyvgg", ("train", "run", "fashion-tinyvgg", "--threads", "1", *root))


@pytest.fixture(scope="session")
def fashion_bundle(make: Make, fashion_run: Path, data_root: Path) -> Path:
    """Path of a fashion-tinyvgg bundle: trained, exported, certified."""
    root = ("--data-root", str(data_root))
    return make(
        "bundles/fashion-tinyvgg",
        ("export", "runs/fashion-tinyvgg", *root),
        ("evaluate", "parity", "bundles/fashion-tinyvgg", *root),
    )
