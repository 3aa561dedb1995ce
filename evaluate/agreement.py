"""Whether a certificate says what an earlier one of the same bundle said, under other settings."""

from evaluate.certificate import WORST_FIRST, Certificate, Setting
from evaluate.graph_verdict import GraphVerdict
from evaluate.ratios import worst_slack
from evaluate.stored import stored_certificate
from serve.bundle import Bundle, BundleError

_OTHER_ROUNDING = 2.0  # times: a runtime's rounding varies by less from one set of samples to the next


def earlier_certificate(bundle: Bundle) -> Certificate | None:
    """Return the certificate that a bundle holds, or None where there is none, or only one of another release."""
    try:
        return stored_certificate(bundle)
    except BundleError:  # it is sealed, or `read_bundle` would have refused it; but its record has other fields
        return None


def loses_what_was_known(earlier: Certificate, now: Certificate) -> bool:
    """Return whether a certificate rests on fewer input sets or graphs than the earlier one whose place it takes."""
    lesser = (earlier.setting.mode, now.setting.mode) == ("full", "quick")
    return lesser or bool({graph.graph for graph in earlier.graphs} - {graph.graph for graph in now.graphs})


def sentences(earlier: Certificate, now: Certificate) -> tuple[str, ...]:
    """Say whether two certificates of one bundle agree, and how each was made.

    They agree where every graph on every provider that both judged has the same verdict, the worst of the ways it was
    run in, its rounding was excused alike, to a factor of two, and the same checks hold.
    """
    unlike = _differences(earlier, now)
    then = _verdicts(earlier)
    both = [key for key in _verdicts(now) if key in then]
    settings = (f"  before  {_described(earlier.setting)}", f"  now     {_described(now.setting)}")
    if unlike:
        return ("differs from the certificate that was here:", *(f"  {what}" for what in unlike), *settings)
    if not both:
        return ("has no graph in common with the certificate that was here", *settings)
    judged = ", ".join(dict.fromkeys(graph for graph, _ in both))
    return (f"agrees with the certificate that was here on {judged}", *settings)


def _differences(earlier: Certificate, now: Certificate) -> list[str]:
    """Say in what two certificates differ, of the graphs that both judged and the checks that both made."""
    then, here = _verdicts(earlier), _verdicts(now)
    slacks, slacks_now = _slacks(earlier), _slacks(now)
    both = [key for key in here if key in then]
    unlike = [
        f"{graph} on {provider} was {_said(then[graph, provider])}, and is {_said(here[graph, provider])}"
        for graph, provider in both
        if then[graph, provider].verdict != here[graph, provider].verdict
    ]
    unlike += [
        f"{graph} on {provider} {_excused(slacks[graph, provider])}, and {_excused(slacks_now[graph, provider])} now"
        for graph, provider in both
        if not 1 / _OTHER_ROUNDING <= slacks_now[graph, provider] / slacks[graph, provider] <= _OTHER_ROUNDING
    ]
    holds = {check.name: check.passed for check in earlier.checks}
    unlike += [
        f"the check of {check.name} {'holds' if check.passed else 'fails'} now: {check.detail}"
        for check in now.checks
        if holds.get(check.name, True) != check.passed
    ]
    return unlike


def _verdicts(certificate: Certificate) -> dict[tuple[str, str], GraphVerdict]:
    """Return the worst verdict on each graph on each provider."""
    found: dict[tuple[str, str], GraphVerdict] = {}
    for graph in certificate.graphs:
        key = (graph.graph, graph.provider)
        found[key] = min(found.get(key, graph), graph, key=lambda one: WORST_FIRST.index(one.verdict))
    return found


def _slacks(certificate: Certificate) -> dict[tuple[str, str], float]:
    """Return how many times as wide as the rule's the bounds of each graph on each provider were at most."""
    found: dict[tuple[str, str], float] = {}
    for graph in certificate.graphs:
        own = worst_slack(graph.comparisons)
        found[graph.graph, graph.provider] = max(own, found.get((graph.graph, graph.provider), 1.0))
    return found


def _excused(slack: float) -> str:
    return f"needed bounds {slack:.3g} times as wide as the rule's" if slack > 1 else "kept the rule's bounds"


def _said(graph: GraphVerdict) -> str:
    return graph.verdict if graph.verdict == "pass" else f"{graph.verdict} ({graph.reason})"


def _described(setting: Setting) -> str:
    threads = f"threads of torch {setting.torch_threads}, of ONNX Runtime {setting.onnxruntime_threads}"
    only = f", optimization {setting.optimization}" if setting.optimization else ""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(setting.versions.items()))
    return (
        f"{setting.created}, {setting.mode}, {threads}{only}, seed {setting.seed}, {setting.held_out_rows} samples, "
        f"{versions}, {setting.machine}"
    )
