"""What a starting server tells its operator: which model, from which bundle, where it runs, and how proven."""

import os
import sys
from typing import Literal

from serve.bundle import Bundle, BundleError, Precision
from serve.classifier import Classifier

Certified = Literal["passed", "failed", "unproven", "not judged", "none"]
_OF_VERDICT: dict[str, Certified] = {"pass": "passed", "fail": "failed", "unproven": "unproven"}


def read_certified(bundle: Bundle, precision: Precision = "float32") -> Certified:
    """Return what the certificate that the bundle was read with says of its graphs of one precision."""
    certificate = bundle.certificate
    if certificate is None:
        return "none"
    if certificate.precisions:  # that of another precision is no reason to refuse this one
        return _OF_VERDICT.get(certificate.precisions.get(precision, ""), "not judged")
    return "passed" if certificate.passed else "failed"


def require_certified(bundle: Bundle, precision: Precision = "float32") -> None:
    """Refuse a graph of which it is known that it is not the model that was trained.

    Raises:
        BundleError: its certificate says that parity failed, or that nothing was proven.
    """
    said = read_certified(bundle, precision)
    of = "" if precision == "float32" else f" in {precision}"
    if said == "unproven":
        raise BundleError(
            f"{bundle.path} has a certificate that says nothing was proven{of}, as the inputs could not have shown a "
            "wrong graph; certify it on others, by `python -m evaluate parity`, or use it all the same with "
            "--allow-failed"
        )
    if said == "failed":
        raise BundleError(
            f"{bundle.path} has a certificate that says parity failed{of}, so this is not the model that was trained; "
            "see `python -m evaluate parity`, or use it all the same with --allow-failed"
        )


def describe(classifier: Classifier) -> str:
    """Return some lines about a model."""
    manifest, checks = classifier.manifest, classifier.checks
    parity = f"python -m evaluate parity {classifier.bundle.path}"
    certificate = {
        "passed": "passed",
        "failed": "FAILED: this is not the model that was trained",
        "unproven": "UNPROVEN: the inputs that it was judged on could not have shown a wrong graph",
        "not judged": f"of other graphs, so not certified; judge this one with `{parity}`",
        "none": f"none, so not certified; make one with `{parity}`",
    }[read_certified(classifier.bundle, classifier.precision)]
    golden = f"NOT READY: {classifier.reason}"
    if classifier.ready:
        sizes = " and ".join(map(str, sorted({check.batch_size for check in checks})))
        worst = max(check.parity.ratio for check in checks)
        golden = (
            f"{classifier.golden().rows} inputs reproduced at batch sizes {sizes}, "
            f"{'error' if classifier.precision == 'float32' else 'drift'} at most {worst:.2f} x bound"
        )
    beyond = beyond_certified(classifier, option="--max-batch")
    return "\n".join(
        [
            f"{manifest.name}  {classifier.bundle.path}",
            f"  bundle       sha256 {manifest.sha256}",
            f"  runs on      {classifier.provider}, {classifier.precision} ({classifier.provider_reason})",
            f"  certificate  {certificate}",
            f"  golden       {golden}",
            *([f"  batches      {beyond}"] if beyond is not None else []),
        ]
    )


def beyond_certified(classifier: Classifier, *, option: str) -> str | None:
    """Say where more rows are run together than the certificate speaks of, and with which option fewer are."""
    graph, served = classifier.bundle.entry("onnx", classifier.precision), classifier.batcher.max_batch
    certified = None if graph is None else classifier.bundle.most_certified(graph, classifier.provider)
    if certified is None or served <= certified:
        return None
    return (
        f"up to {served} rows are run together, but the certificate speaks of at most {certified}; "
        f"lower {option} to {certified}"
    )


def has_graphical_browser() -> bool:
    """Return whether a browser window can appear on this machine."""
    if sys.platform.startswith(("win", "darwin")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
