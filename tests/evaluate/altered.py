"""Copies of bundles that a test may spoil; `evaluate.resealed` does the spoiling."""

import shutil
from pathlib import Path

from serve.bundle import CERTIFICATE


def copy_bundle(bundle: Path, target: Path) -> Path:
    """Copy a bundle without its certificate, which speaks of the original."""
    return Path(shutil.copytree(bundle, target, ignore=shutil.ignore_patterns(CERTIFICATE)))
