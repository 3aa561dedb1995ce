"""Bundles beside each other: what each is worth in a line, and how it does against the first on the same samples."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluate.graph_verdict import Comparison, Verdict
from evaluate.plan import NOISE_NAME
from evaluate.reduced import PairedDrop, paired_drop
from evaluate.report.findings import Findings

Shade = Verdict | Literal["weak"]
"""How a verdict looks: one that passes is weak where nothing real was compared."""
BUTS = ("on noise alone", "by a quick check")  # the weightier first
_GRAPHS = frozenset({"onnx", "torchscript", "exported-program"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One bundle against the first.

    Attributes:
        drop: Accuracy that is lost beside the first on the same rows; negative where it is gained.
        why_not: Why there is none.
    """

    drop: PairedDrop | None
    why_not: str | None


def state_of(found: Findings) -> Verdict:
    """Return the verdict on a bundle as a whole: it passes only if all of its graphs were judged, and pass."""
    certificate = found.certificate
    verdicts = {graph.verdict for graph in certificate.graphs}
    if "fail" in verdicts or not all(check.passed for check in certificate.checks):
        return "fail"
    served = set(certificate.precisions.values()) == {"pass"}  # each in the way that it is served
    passed = certificate.passed and verdicts == {"pass"} and served and not not_judged(found)
    return "pass" if passed else "unproven"


def on_noise_alone(found: Findings) -> bool:
    """Return whether no real sample was compared, because there was none."""
    return any(one.input_set.startswith(NOISE_NAME) for graph in found.certificate.graphs for one in graph.comparisons)


def is_quick(found: Findings) -> bool:
    """Return whether the certificate rests on few samples and batch sizes."""
    return found.certificate.setting.mode == "quick"


def shade_of(found: Findings) -> Shade:
    """Return how the verdict on a bundle looks."""
    state = state_of(found)
    return "weak" if state == "pass" and on_noise_alone(found) else state


def but_of(found: Findings) -> tuple[str, ...]:
    """Return what must stand beside the word that a bundle passed; nothing where it did not."""
    if state_of(found) != "pass":
        return ()
    there = on_noise_alone(found), is_quick(found)
    return tuple(words for words, is_so in zip(BUTS, there, strict=True) if is_so)


def not_judged(found: Findings) -> tuple[str, ...]:
    """Return the graphs of a bundle that its certificate says nothing of."""
    judged = {graph.graph for graph in found.certificate.graphs}
    return tuple(file.path for file in found.manifest.files if file.format in _GRAPHS and file.path not in judged)


def beside_first(all_found: tuple[Findings, ...]) -> tuple[Beside, ...]:
    """Compare every bundle but the first with the first."""
    return tuple(_beside(all_found[0], other) for other in all_found[1:])


def _beside(first: Findings, other: Findings) -> Beside:
    one, two = first.sampled, other.sampled
    if one is None or two is None or one.right is None or two.right is None:
        return Beside(drop=None, why_not="accuracy was not measured of both")
    if first.manifest.labels != other.manifest.labels:
        return Beside(drop=None, why_not="it has other classes")
    same_data = first.manifest.provenance.dataset_sha256 == other.manifest.provenance.dataset_sha256
    same_rows = one.inputs_sha256 == two.inputs_sha256 or (
        not one.carried and not two.carried and (one.named or same_data)
    )
    if not (same_rows and np.array_equal(one.truth, two.truth)):
        return Beside(drop=None, why_not="its samples are others")
    return Beside(drop=paired_drop(one.right, two.right), why_not=None)


def share_of_bound(comparison: Comparison) -> float:
    """Return the greater error as a share of what it may be, at most 1 passes; infinity where it is no number."""
    pairs = ((comparison.rmse, comparison.rmse_bound), (comparison.max_error, comparison.max_bound))
    shares = [
        math.inf if error is None or bound is None else 0.0 if error == 0 else error / bound if bound else math.inf
        for error, bound in pairs
    ]
    return max(*shares, comparison.apart_ratio or 0.0)


def worst_share(found: Findings) -> float | None:
    """Return the greatest share of its bound that any error of a bundle's full-precision graphs takes up."""
    graphs = [graph for graph in found.certificate.graphs if graph.precision == "float32"]
    return max((share_of_bound(one) for graph in graphs for one in graph.comparisons), default=None)


def document_of(all_found: tuple[Findings, ...]) -> dict[str, object]:
    """Return what was found as it goes into a JSON file: all figures, without pictures."""
    bundles = [
        {
            "name": found.manifest.name,
            "sha256": found.manifest.sha256,
            "parity": state_of(found),
            "on_noise_alone": on_noise_alone(found),
            "quick": is_quick(found),
            "certificate_stored": found.stored,
            "certificate": found.certificate,
            "accuracy": found.accuracy,
            "blame": found.blame,
            "bench": found.bench,
            "left_out": found.left_out,
        }
        for found in all_found
    ]
    return {"bundles": bundles, "against_first": beside_first(all_found)}
