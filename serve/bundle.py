"""The bundle: what export writes, serve runs and evaluate judges. The front of the contract, and reading it checked.

The records are in `serve.manifest`, sealed documents in `serve.seal`; all of them are imported from here.
"""

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from serve.bundle_files import check_folders, open_file, read_document, size_of
from serve.manifest import (
    CERTIFICATE,
    MANIFEST,
    NAME,
    SCHEMA_VERSION,
    BundleError,
    DType,
    Feature,
    FileEntry,
    Format,
    ImagePreprocessing,
    Manifest,
    Precision,
    Provenance,
    Task,
    TensorSpec,
)
from serve.seal import check_seal, decode_sealed, encode_sealed, seal

__all__ = [
    "CERTIFICATE",
    "MANIFEST",
    "NAME",
    "SCHEMA_VERSION",
    "Bundle",
    "BundleError",
    "CertificateHead",
    "DType",
    "Feature",
    "FileEntry",
    "Format",
    "ImagePreprocessing",
    "Manifest",
    "Precision",
    "Provenance",
    "Task",
    "TensorSpec",
    "check_certificate",
    "check_seal",
    "decode_sealed",
    "encode_sealed",
    "read_bundle",
    "read_certificate",
    "seal",
]

MAX_MANIFEST_BYTES = 16 << 20
MAX_CERTIFICATE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on disk whose files have been checked against the manifest, with the head of its certificate, if any."""

    path: Path
    manifest: Manifest
    certificate: "CertificateHead | None" = None

    def entry(self, file_format: Format, precision: Precision | None = None) -> FileEntry | None:
        """Return the file of that format (and precision, where one is given), or None."""
        return next(
            (f for f in self.manifest.files if f.format == file_format and precision in (None, f.precision)), None
        )

    def read_weights(self, graph: FileEntry) -> dict[str, bytes]:
        """Return the files that hold an ONNX graph's weights, by the names that the graph gives them; mostly none.

        Raises:
            BundleError: as `read`.
        """
        return {entry.path.rpartition("/")[2]: self.read(entry) for entry in self.weights_files(graph)}

    def weights_files(self, graph: FileEntry) -> tuple[FileEntry, ...]:
        """Return the files beside an ONNX graph that hold its weights; mostly none."""
        data = f"{graph.path}.data"
        return tuple(entry for entry in self.manifest.files if entry.format == "onnx-data" and entry.path == data)

    def most_certified(self, graph: FileEntry, provider: str) -> int | None:
        """Return the most rows of one run that the certificate proves, or None where it proves none."""
        return None if self.certificate is None else self.certificate.most_rows(graph.path, provider)

    def read(self, entry: FileEntry) -> bytes:
        """Return a file's bytes, checked on this very read, so that what was verified is what is used.

        Raises:
            BundleError: the file is missing or differs from what the manifest records.
        """
        path = self.path / entry.path
        try:
            check_folders(self.path, entry.path)
            with open_file(path) as file:
                size_bytes = size_of(file)
                if size_bytes != entry.size_bytes:
                    raise BundleError(
                        f"{path} has {size_bytes:,} bytes, but {MANIFEST} records {entry.size_bytes:,}; "
                        "export the bundle again, or copy it whole"
                    )
                content = file.read(size_bytes)
        except FileNotFoundError:
            raise BundleError(
                f"{path} is missing, but {MANIFEST} lists it; export the bundle again, or copy it whole"
            ) from None
        except OSError as error:
            raise BundleError(
                f"{path} cannot be read ({error.strerror}); export the bundle again, or copy it whole"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != entry.sha256:
            raise BundleError(
                f"{path} has sha256 {found[:12]}…, but {MANIFEST} records {entry.sha256[:12]}…; export the bundle again"
            )
        return content


def read_bundle(path: Path | str, *, certificate: bool = True) -> Bundle:
    """Read a bundle and check every file of it against its digest.

    Args:
        path: Its directory.
        certificate: Whether its certificate is read; not where it is about to be made anew.

    Raises:
        BundleError: the bundle is missing, incomplete, altered or of another schema.
    """
    path = Path(path)
    if not path.exists():
        raise BundleError(
            f"{path} does not exist, but a bundle directory was expected; make one with `python -m export RUN`"
        )
    if not path.is_dir():
        raise BundleError(f"{path} is a file, but a bundle is a directory with a {MANIFEST}; give the directory")
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(
            f"{path} has no {MANIFEST}, so it is no bundle or its export did not finish; "
            "make it with `python -m export RUN`"
        )
    manifest = decode_sealed(read_document(manifest_path, MAX_MANIFEST_BYTES), Manifest, manifest_path)
    bundle = Bundle(path=path, manifest=manifest)
    for entry in manifest.files:
        bundle.read(entry)
    return replace(bundle, certificate=read_certificate(bundle)) if certificate else bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Coarse:
    """Where a runtime rounds more coarsely than the rule allows, on ordinary inputs, while the graph is right.

    Attributes:
        graph: File of the graph, as it is served.
        provider: ONNX Runtime's exact name of where.
        onnxruntime: Its version.
        output: Which output.
        slack: How many times beyond the bounds it goes.
    """

    graph: str
    provider: str
    onnxruntime: str
    output: str
    slack: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedRows:
    """How a graph was run when it was compared: so many rows at most of one run, and so many in all."""

    batch_size: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedGraph:
    """What a certificate says of one graph on one provider."""

    graph: str
    provider: str
    verdict: str
    optimized: bool
    comparisons: tuple[CertifiedRows, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateHead:
    """The part of `certificate.json` that binds it to one bundle and that a server reads; evaluate owns the rest."""

    sha256: str
    bundle_sha256: str
    passed: bool
    precisions: dict[str, str] = field(default_factory=dict)
    coarse: tuple[Coarse, ...] = ()
    graphs: tuple[CertifiedGraph, ...] = ()

    def most_rows(self, graph: str, provider: str) -> int | None:
        """Return the most rows that a graph passed with in one run as it is served; None where it did not pass.

        What other providers ran counts only where it was not run on this one.
        """
        served = [one for one in self.graphs if one.graph == graph and one.optimized]
        here = [one for one in served if one.provider == provider] or served
        runs = (run for one in here if one.verdict == "pass" for run in one.comparisons)
        return max((min(run.batch_size, run.rows) for run in runs), default=None)


def read_certificate(bundle: Bundle) -> CertificateHead | None:
    """Return what the bundle's certificate says of it, or None where it has none.

    Raises:
        BundleError: the certificate cannot be read, was altered, or certifies another bundle.
    """
    path = bundle.path / CERTIFICATE
    if not os.path.lexists(path):
        return None
    return check_certificate(read_document(path, MAX_CERTIFICATE_BYTES), path, bundle.manifest)


def check_certificate(document: bytes, path: Path, manifest: Manifest) -> CertificateHead:
    """Check that a certificate is intact and speaks of this very bundle.

    Raises:
        BundleError: it was altered, or certifies another bundle.
    """
    head = decode_sealed(document, CertificateHead, path)
    if head.bundle_sha256 != manifest.sha256:
        raise BundleError(
            f"{path} certifies bundle {head.bundle_sha256[:12]}…, but this is {manifest.sha256[:12]}…; "
            "run `python -m evaluate parity` again"
        )
    return head
