"""Bundles and classifiers that the tests of serve share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.classifier import Classifier
from tests.serve.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny image bundle; not to be changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def tiny(tiny_path: Path) -> Iterator[Classifier]:
    """Return a classifier of the tiny bundle on the CPU."""
    with Classifier.open(tiny_path, provider="cpu", threads=1) as classifier:
        yield classifier
