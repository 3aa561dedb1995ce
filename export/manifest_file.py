"""A bundle's files on disk: forced there and digested, the manifest last."""

import hashlib
import os
from pathlib import Path

from export.draft import Draft
from serve.bundle import MANIFEST, SCHEMA_VERSION, FileEntry, Manifest, decode_sealed, encode_sealed


def write_manifest(
    directory: Path, draft: Draft, files: tuple[FileEntry, ...], *, row_independent: bool = True
) -> Manifest:
    """Write `manifest.json`, the last file of a bundle, and return it with its own digest filled in."""
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        sha256="0" * 64,
        name=draft.name,
        task=draft.task,
        labels=draft.labels,
        inputs=draft.inputs,
        outputs=draft.outputs,
        preprocessing=draft.preprocessing,
        files=files,
        provenance=draft.provenance,
        features=draft.features,
        row_independent=row_independent,
    )
    path = directory / MANIFEST
    path.write_bytes(encode_sealed(manifest))
    sync(path)
    return decode_sealed(path.read_bytes(), Manifest, path)


def sync(path: Path) -> tuple[int, str]:
    """Force a file to disk and return its size and its digest."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256")  # in pieces: files are as large as the weights
        return file.tell(), digest.hexdigest()
