"""The options of ``python -m evaluate parity``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from train.data_root import default_data_root

BundlePath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
Provider = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Compare every exported graph with the eager PyTorch module in float64, and write the certificate.

    Exit code 0: parity holds. 1: it fails, or nothing was proven. 2: trouble.
    """

    bundle: BundlePath
    """Directory that `python -m export` wrote."""
    data_root: Path = field(default_factory=default_data_root)
    """Where the recipe's data is (or DATA_ROOT); without it the bundle's own held-out samples are used."""
    provider: Provider = "auto"
    """What ONNX runs on: auto means the CPU, and CUDA where a device is there."""
    samples: int | None = None
    """Held-out samples at most. Default: 2048, with --quick 256, and fewer where a row costs much."""
    seed: int = 0
    """Decides which samples, the noise, and the pairs on the decision boundary."""
    quick: bool = False
    """Fewer samples and input sets, and ONNX only as it is served; the certificate says so."""
    max_drop: float = 0.5
    """Loss of accuracy, in points of a per cent, that float16 and int8 graphs may have."""
    factory: str | None = None
    """What builds the network, where it is your own: package.module:callable or path/to/file.py:callable. It is run."""
    trust: bool = False
    """Load an exported program (graph.pt2), too, though torch runs any code in it: the bundle is your own."""
    require_signature: Annotated[Path | None, tyro.conf.arg(metavar="KEY")] = None
    """Take only a bundle that the owner of this public key (PEM) signed with `python -m export.sign`; trust it."""
    json: Path | None = None
    """Also write the certificate as JSON to this file; - is stdout, instead of the table."""
    certificate: bool = True
    """Write certificate.json into the bundle."""
