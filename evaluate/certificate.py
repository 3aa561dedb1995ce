"""The certificate: what was compared with what, and the verdict. Records and writing; nothing is judged here."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serve.bundle import CERTIFICATE, Precision, encode_sealed

Verdict = Literal["pass", "fail", "unproven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold of the bundle itself.

    Attributes:
        name: What was checked.
        passed: Whether it holds.
        detail: What was found.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output of one graph on one input set, against the float64 reference.

    Attributes:
        input_set: Which inputs.
        batch_size: Rows of one run.
        rows: Rows compared.
        output: Which output.
        rmse: Root mean squared error, None where there was nothing to compare.
        rmse_bound: What it may be: three times PyTorch's own.
        max_error: Greatest absolute error.
        max_bound: What it may be: six times PyTorch's own.
        flips: Rows whose top class differs from the reference's; None for an output that decides nothing.
        flips_beyond_margin: Those that count against the graph.
        unflippable_share: Share of rows whose decision no error of the size seen can change.
        flip_rate_upper_95: Upper end of the one-sided 95 % interval of the flip rate.
        verdict: Whether parity holds.
        reason: Why not.
    """

    input_set: str
    batch_size: int
    rows: int
    output: str
    rmse: float | None
    rmse_bound: float | None
    max_error: float | None
    max_bound: float | None
    flips: int | None
    flips_beyond_margin: int | None
    unflippable_share: float | None
    flip_rate_upper_95: float | None
    verdict: Verdict
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphVerdict:
    """One graph on one provider; ``optimized`` says whether the provider could rewrite it first, as serving lets it."""

    graph: str
    precision: Precision
    provider: str
    optimized: bool
    verdict: Verdict
    reason: str | None
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the certificate was made with, so that anyone can make it again."""

    created: str
    held_out_rows: int
    held_out_source: str
    seed: int
    versions: dict[str, str]
    machine: str
    torch_threads: int
    onnxruntime_threads: int
    tf32: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """`certificate.json`: sealed like the manifest, and bound to one bundle by the manifest's digest."""

    schema_version: int
    sha256: str
    bundle_sha256: str
    name: str
    passed: bool
    rule: str
    setting: Setting
    checks: tuple[Check, ...]
    graphs: tuple[GraphVerdict, ...]


def write_certificate(certificate: Certificate, directory: Path) -> Path:
    """Write `certificate.json` into a bundle, whole or not at all, and return its path."""
    target = directory / CERTIFICATE
    handle, temporary = tempfile.mkstemp(prefix=f".{CERTIFICATE}.", dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(encode_sealed(certificate))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target
