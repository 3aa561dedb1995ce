"""Certificates written by hand: what they say of graphs, and of how many rows ran together."""

from pathlib import Path
from typing import Any

from serve.bundle import CertificateHead, CertifiedGraph, CertifiedRows, encode_sealed, read_bundle


def certify(bundle: Path, *, passed: bool, graphs: tuple[CertifiedGraph, ...] = ()) -> Path:
    """Put a certificate into a bundle."""
    sha256 = read_bundle(bundle).manifest.sha256
    head = CertificateHead(sha256="0" * 64, bundle_sha256=sha256, passed=passed, graphs=graphs)
    (bundle / "certificate.json").write_bytes(encode_sealed(head))
    return bundle


def ran(*runs: tuple[int, int], **changes: Any) -> CertifiedGraph:
    """Return what a certificate says of a graph that passed, with the size of a batch and the rows of each set."""
    known = {"graph": "graph.onnx", "provider": "CPUExecutionProvider", "verdict": "pass", "optimized": True}
    comparisons = tuple(CertifiedRows(batch_size=size, rows=rows) for size, rows in runs)
    return CertifiedGraph(**{**known, "comparisons": comparisons, **changes})
