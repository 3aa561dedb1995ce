"""The certificate: what was compared with what, and the verdict. Records and writing; nothing is judged here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluate.graph_verdict import GraphVerdict, HeldWeights
from serve.bundle import CERTIFICATE, Coarse, Precision, encode_sealed
from train.whole_file import write_whole

Standing = Literal["pass", "fail", "unproven", "not judged"]
WORST_FIRST: tuple[Standing, ...] = ("fail", "unproven", "not judged", "pass")
Mode = Literal["full", "quick"]


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
class Labelled:
    """Held-out samples whose class is known, those eager PyTorch gets right, and those of the commonest class."""

    rows: int
    right: int
    commonest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the certificate was made with, so that anyone can make it again.

    ``skipped`` says which inputs proved nothing because PyTorch itself gave no finite outputs there. ``labelled`` says
    how many held-out samples PyTorch itself got right, which tells labels in the wrong order; None without any label.
    ``held_out_sha256`` is the digest of samples that the user gave. ``not_judged`` names graphs that were left out, and
    ``optimization`` the only level that ONNX graphs were run at, where one was asked for. ``float32_operators`` names
    those that have no float64, so that the reference is weaker there: the mean of runs in float32 on inputs that are
    off by up to one unit in the last place.
    """

    created: str
    mode: Mode
    held_out_rows: int
    held_out_source: str
    seed: int
    versions: dict[str, str]
    machine: str
    torch_threads: int
    onnxruntime_threads: int
    tf32: bool
    skipped: tuple[str, ...] = ()
    labelled: Labelled | None = None
    held_out_sha256: str | None = None
    not_judged: tuple[str, ...] = ()
    optimization: str | None = None
    float32_operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """`certificate.json`: sealed like the manifest, and bound to one bundle by the manifest's digest.

    ``passed`` speaks of all graphs that were judged; ``precisions`` of those of each precision, as a server runs one of
    them: they pass only if each of them was judged in the way that it is served. ``coarse`` lists where ONNX
    Runtime rounds more coarsely than the rule allows, and the graph is right. ``weights`` says of which graphs the
    tensors are the model's own.
    """

    schema_version: int
    sha256: str
    bundle_sha256: str
    name: str
    passed: bool
    precisions: dict[Precision, Standing]
    rule: str
    setting: Setting
    checks: tuple[Check, ...]
    graphs: tuple[GraphVerdict, ...]
    coarse: tuple[Coarse, ...] = ()
    weights: tuple[HeldWeights, ...] = ()


def write_certificate(certificate: Certificate, directory: Path) -> Path:
    """Write `certificate.json` into a bundle, whole or not at all, and return its path."""
    target = directory / CERTIFICATE
    write_whole(target, encode_sealed(certificate))
    return target
