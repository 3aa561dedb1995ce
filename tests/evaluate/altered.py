"""Bundles that are wrong but sealed: every digest fits, so only judging them can tell."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from serve.bundle import CERTIFICATE, MANIFEST, Manifest, encode_sealed


def copy_bundle(bundle: Path, target: Path) -> Path:
    """Copy a bundle without its certificate, which speaks of the original."""
    return Path(shutil.copytree(bundle, target, ignore=shutil.ignore_patterns(CERTIFICATE)))


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file of a bundle and seal the bundle again."""
    (bundle / name).write_bytes(content)

    def update(manifest: Manifest) -> Manifest:
        files = tuple(
            replace(entry, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            if entry.path == name
            else entry
            for entry in manifest.files
        )
        return replace(manifest, files=files)

    change_manifest(bundle, update)


def change_manifest(bundle: Path, change: Callable[[Manifest], Manifest]) -> None:
    """Change the manifest of a bundle and seal it again."""
    path = bundle / MANIFEST
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    path.write_bytes(encode_sealed(replace(change(manifest), sha256="0" * 64)))
