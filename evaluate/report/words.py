"""How a page writes numbers, and the sentences that say what they come to."""

import math
from collections.abc import Sequence

from evaluate.accuracy.record import Estimate, Interval
from evaluate.graph_verdict import Verdict
from evaluate.report.findings import Findings
from evaluate.report.together import BUTS, Beside, Shade, but_of, is_quick, not_judged, on_noise_alone, state_of

PASSED: dict[Verdict, str] = {"pass": "Passed", "fail": "Failed", "unproven": "Not proven"}
NOTHING, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
_PERCENT = "\N{NO-BREAK SPACE}%"
_LIKELY_BY_CHANCE = 0.05
_SURE = 0.999
_MANY = 1e7


def percent(share: float) -> str:
    """Return a share as per cent."""
    return f"{100 * share:.2f}{_PERCENT}"


def deviation(share: float) -> str:
    """Return a share of a bound, which may be far beyond it, or no number."""
    if not math.isfinite(share):
        return "no number"
    rounded = 100 * share if share < 1 else float(f"{100 * share:.3g}")
    return f"{rounded:,.0f}{_PERCENT}" if rounded < _MANY else f"{rounded:.2g}{_PERCENT}"


def sure(probability: float) -> str:
    """Return a probability; one that rounding alone would make certain is not called so."""
    return f"> 99.9{_PERCENT}" if probability > _SURE else f"{100 * probability:.1f}{_PERCENT}"


def clamp(name: str, most: int = 60) -> str:
    """Return a name that is at most so many signs long."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def moment(created: str) -> str:
    """Return a time of ISO 8601 to the minute."""
    return created[:16].replace("T", " ") + (" UTC" if created.endswith("+00:00") else "")


def percents(interval: Interval | None) -> str:
    """Return the ends of an interval of a share."""
    return "" if interval is None else f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}{_PERCENT}"


def share(estimate: Estimate) -> str:
    """Return a share that may be undefined."""
    return NOTHING if estimate.value is None else percent(estimate.value)


def number(value: float | None) -> str:
    """Return a number to four digits."""
    if value is None:
        return NOTHING
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def numbers(interval: Interval | None) -> str:
    """Return the ends of an interval."""
    return "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"


def milliseconds(value: float) -> str:
    """Return a duration to three digits."""
    return f"{value:,.3g} ms" if value < 1000 else f"{value / 1000:,.3g} s"


def times(value: float | None) -> str:
    """Return a multiple."""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}" if value < _MANY else f"{value:.2g}"


def bar(value: float | None) -> str:
    """Return the length of a bar whose track is 1 long, as a style sheet reads it."""
    return "0%" if value is None or not value > 0 else f"{100 * min(value, 1.0):.1f}%"


def shape(sizes: Sequence[int | str]) -> str:
    """Return a tensor's shape."""
    return f" {TIMES} ".join(map(str, sizes))


def counted(count: int, what: str) -> str:
    """Return a number of things."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def sentence_of(found: Findings) -> str:
    """Say in one sentence whether a bundle may be served, for the person who decides."""
    certificate, name = found.certificate, found.manifest.name
    state = state_of(found)
    if state == "pass":
        reduced = sorted(set(certificate.precisions) - {"float32"})
        also = f"; what computes in {' and '.join(reduced)} stays within the bounds set for it" if reduced else ""
        noise, quick = on_noise_alone(found), is_quick(found)
        return (
            f"{'On noise, ' if noise else ''}{name} gives the answers of the model that was trained: its exported "
            f"graphs differ from it by no more than rounding explains{also}."
            f"{' Not one real sample was compared.' if noise else ''}"
            f"{' The check was a quick one: few samples and batch sizes.' if quick else ''}"
        )
    check = next((one for one in certificate.checks if not one.passed), None)
    why = f"{check.name}: {check.detail}" if check else _reason(found, state)
    if state == "fail":
        return f"{name} must not be served: it is not the model that was trained. {_ended(why)}"
    return (
        f"Nothing contradicts that {name} is the model that was trained, but the comparison could not have. "
        f"{_ended(why)}"
    )


def _ended(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _reason(found: Findings, state: Verdict) -> str:
    graph = next((one for one in found.certificate.graphs if one.verdict == state), None)
    if graph is not None:
        return f"{graph.graph}: {graph.reason}"
    left = not_judged(found)
    what = f"says nothing of {', '.join(left)}" if left else "says nothing of how its graphs are served"
    return f"Its certificate {what}; make it again."


def caution_of(found: Findings) -> str | None:
    """Say what is wrong with the model itself, however faithful its export is; None where nothing is seen."""
    accuracy, sampled = found.accuracy, found.sampled
    if accuracy is None or sampled is None:
        return None
    graph = accuracy.graphs[min(1, len(accuracy.graphs) - 1)] if accuracy.graphs else None
    if graph is not None and sampled.baseline is not None and graph.interval_95[0] <= sampled.baseline:
        return (
            f"{found.manifest.name} itself is not shown to be any better than always answering the commonest class, "
            f"which is right for {percent(sampled.baseline)} of these samples."
        )
    errors = accuracy.errors[min(1, len(accuracy.errors) - 1)] if accuracy.errors else None
    weak = [one.target for one in errors.targets if one.r2 is not None and one.r2 <= 0] if errors else []
    return f"{found.manifest.name} itself predicts {clamp(weak[0])} no better than its mean does." if weak else None


def overall_sentence(all_found: Sequence[Findings]) -> str:
    """Say in one sentence how many bundles may be served."""
    passed = [found for found in all_found if state_of(found) == "pass"]
    if len(passed) == len(all_found):
        return f"All {len(passed)} bundles give the answers of the models that were trained.{_but(passed)}"
    rest = ", ".join(found.manifest.name for found in all_found if state_of(found) != "pass")
    return (
        f"{len(passed)} of {len(all_found)} bundles give the answers of the models that were trained; not: {rest}."
        f"{_but(passed)}"
    )


def _but(passed: Sequence[Findings]) -> str:
    noise = ", ".join(found.manifest.name for found in passed if on_noise_alone(found))
    quick = ", ".join(found.manifest.name for found in passed if is_quick(found))
    return (f" On noise alone, not on one real sample: {noise}." if noise else "") + (
        f" By a quick check, on few samples and batch sizes: {quick}." if quick else ""
    )


def overall_mark(all_found: Sequence[Findings]) -> str:
    """Return the few words of the banner, which say what a pass rests on where that is little."""
    state = overall_state(all_found)
    buts = [but for found in all_found for but in but_of(found)] if state == "pass" else []
    return ", ".join([PASSED[state], *(_of_all(but, buts.count(but), len(all_found)) for but in BUTS if but in buts)])


def _of_all(words: str, count: int, of: int) -> str:
    return words if of == 1 else f"all {words}" if count == of else f"{count} of {of} {words}"


def overall_shade(all_found: Sequence[Findings]) -> Shade:
    """Return how the banner looks: one bundle that rests on noise alone takes the green from all."""
    state = overall_state(all_found)
    return "weak" if state == "pass" and any(map(on_noise_alone, all_found)) else state


def overall_state(all_found: Sequence[Findings]) -> Verdict:
    """Return the worst of the verdicts."""
    states = {state_of(found) for found in all_found}
    return "fail" if "fail" in states else "unproven" if "unproven" in states else "pass"


def beside_sentence(beside: Beside) -> str:
    """Say how one bundle does against the first."""
    drop = beside.drop
    if drop is None:
        return f"is not compared: {beside.why_not}"
    low, high = (-100 * end for end in reversed(drop.interval_95))
    chance = " (chance alone may do that)" if drop.mcnemar_p > _LIKELY_BY_CHANCE else ""
    return (
        f"{-100 * drop.drop:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}); {drop.gained:,} samples gained, "
        f"{drop.lost:,} lost, McNemar p = {drop.mcnemar_p:.2g}{chance}"
    )
