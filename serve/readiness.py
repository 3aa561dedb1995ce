"""Whether a model may serve on this machine: its golden inputs are run at the start, and a sentence says why not."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnxruntime as ort  # type: ignore[import-untyped]

from serve.bundle import Bundle, Precision
from serve.devices import Provider
from serve.golden import Golden, GoldenCheck, check_golden
from serve.onnx_runner import ORT_ERRORS
from serve.parity import COARSEST
from serve.runner import LimitableRunner

START_LIMIT_S = 600.0  # of all runs of golden inputs together: what takes longer is no use to anybody, or has no end
_SLACK_MARGIN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What came of the golden inputs.

    Attributes:
        checks: An entry per output and batch size; none where the graph failed.
        reason: Why the model must not serve, or None where it may.
    """

    checks: tuple[GoldenCheck, ...] = ()
    reason: str | None


def examine(
    runner: LimitableRunner,
    golden: Golden,
    *,
    bundle: Bundle,
    provider: Provider,
    precision: Precision,
    max_batch: int,
    slack: Mapping[str, float] | None = None,
) -> Readiness:
    """Run the golden inputs alone and in the largest batches, and judge what comes out.

    Args:
        runner: What will serve.
        golden: Inputs and references.
        bundle: The bundle that they are from.
        provider: ONNX Runtime's exact name of where the graph runs.
        precision: What the graph computes in.
        max_batch: Most rows of one run.
        slack: As for `check_golden`.
    """
    try:
        checks = check_golden(
            runner.limited(START_LIMIT_S),
            golden,
            batch_sizes=sorted({1, max_batch}),
            precision=precision,
            decisive="classification" in bundle.manifest.task,
            slack=slack,
        )
    except ORT_ERRORS as error:
        name = bundle.manifest.name
        return Readiness(
            reason=f"model {name} fails on its golden inputs on {provider} ({error}); export the bundle again"
        )
    return Readiness(checks=checks, reason=_judge(checks, bundle, provider))


def known_slack(bundle: Bundle, graph: str, provider: Provider) -> dict[str, float]:
    """Return how many times as wide as the rule's the bounds of outputs are: other rows and batches round otherwise."""
    coarse = bundle.certificate.coarse if bundle.certificate is not None else ()
    here = (graph, provider, ort.__version__)
    return {
        one.output: min(_SLACK_MARGIN * one.slack, COARSEST)
        for one in coarse
        if (one.graph, one.provider, one.onnxruntime) == here and one.slack > 1
    }


def _judge(checks: tuple[GoldenCheck, ...], bundle: Bundle, provider: Provider) -> str | None:
    failed = [check for check in checks if not check.parity.passed]
    if not failed:
        return None
    worst = max(failed, key=lambda check: check.parity.ratio)
    certify = (
        f"certify it with `python -m evaluate parity {bundle.path}`, which can tell coarse rounding of the "
        "runtime from a wrong graph, "
        if bundle.certificate is None
        else ""
    )
    return (
        f"model {bundle.manifest.name} does not reproduce its golden outputs on this machine with {provider}: "
        f"{worst.sentence}; {certify}use another provider, or export the bundle again"
    )
