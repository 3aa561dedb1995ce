"""Bundles that are changed and sealed again, so that every digest fits and only judging can tell."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from serve.bundle import MANIFEST, Manifest, encode_sealed
from serve.manifest import FileEntry


def change_manifest(bundle: Path, change: Callable[[Manifest], Manifest]) -> None:
    """Change the manifest of a bundle, and seal it again."""
    path = bundle / MANIFEST
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    path.write_bytes(encode_sealed(replace(change(manifest), sha256="0" * 64)))


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file of a bundle, and seal the bundle again."""
    (bundle / name).write_bytes(content)

    def sealed(entry: FileEntry) -> FileEntry:
        if entry.path != name:
            return entry
        return replace(entry, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    change_manifest(bundle, lambda manifest: replace(manifest, files=tuple(sealed(entry) for entry in manifest.files)))


def drop_files(bundle: Path, dropped: Callable[[FileEntry], bool]) -> None:
    """Take files out of a bundle, and seal the bundle again."""

    def without(manifest: Manifest) -> Manifest:
        for entry in manifest.files:
            if dropped(entry):
                (bundle / entry.path).unlink()
        return replace(manifest, files=tuple(entry for entry in manifest.files if not dropped(entry)))

    change_manifest(bundle, without)
