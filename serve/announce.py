"""What a starting server tells its operator: which model, from which bundle, where it runs, and how proven."""

import os
import sys
from typing import Literal

from serve.bundle import Bundle, BundleError, read_certificate
from serve.classifier import Classifier

Certified = Literal["passed", "failed", "none"]


def read_certified(bundle: Bundle) -> Certified:
    """Return what the bundle's certificate says of it.

    Raises:
        BundleError: the certificate was altered, or is another bundle's.
    """
    certificate = read_certificate(bundle)
    if certificate is None:
        return "none"
    return "passed" if certificate.passed else "failed"


def require_certified(bundle: Bundle) -> None:
    """Refuse a bundle of which it is known that it is not the model that was trained.

    Raises:
        BundleError: its certificate says that parity failed.
    """
    if read_certified(bundle) == "failed":
        raise BundleError(
            f"{bundle.path} has a certificate that says parity failed, so this is not the model that was trained; "
            "see `python -m evaluate parity`, or use it all the same with --allow-failed"
        )


def describe(classifier: Classifier) -> str:
    """Return some lines about a model."""
    manifest, checks = classifier.manifest, classifier.checks
    certificate = {
        "passed": "passed",
        "failed": "FAILED: this is not the model that was trained",
        "none": f"none, so not certified; make one with `python -m evaluate parity {classifier.bundle.path}`",
    }[read_certified(classifier.bundle)]
    golden = f"NOT READY: {classifier.reason}"
    if classifier.ready:
        sizes = " and ".join(map(str, sorted({check.batch_size for check in checks})))
        worst = max(check.parity.ratio for check in checks)
        golden = (
            f"{classifier.golden().rows} inputs reproduced at batch sizes {sizes}, error at most {worst:.2f} x bound"
        )
    return "\n".join(
        [
            f"{manifest.name}  {classifier.bundle.path}",
            f"  bundle       sha256 {manifest.sha256}",
            f"  runs on      {classifier.provider}, {classifier.precision} ({classifier.provider_reason})",
            f"  certificate  {certificate}",
            f"  golden       {golden}",
        ]
    )


def has_graphical_browser() -> bool:
    """Return whether a browser window can appear on this machine."""
    if sys.platform.startswith(("win", "darwin")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
