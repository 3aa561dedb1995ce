"""The page of the measurement, and the same in a terminal."""

import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evaluate.faults.case import Case, current_settings
from evaluate.faults.chart import draw_power
from evaluate.faults.harmless import STATED
from evaluate.faults.power import Power, Share, power_of
from evaluate.faults.rules import OURS, RULES
from evaluate.faults.subjects import subjects
from train.whole_file import write_whole

_FAMILIES = {
    "input": "preprocessing",
    "layer": "layers",
    "weights": "weights",
    "output": "outputs",
    "batch": "rows of a batch",
    "graph": "ONNX graph",
    "bundle": "a bundle, through the command line",
}


def print_power(power: Power, console: Console) -> None:
    """Print the table of rules, and what was missed or cried wolf."""
    table = Table()
    for name in ("rule", "caught", "95 %", "false alarms", "95 %"):
        table.add_column(name)
    for rule in power.rules:
        table.add_row(
            rule.name.replace("`", ""),
            _count(rule.caught),
            _interval(rule.caught),
            _count(rule.alarms),
            _interval(rule.alarms),
        )
    console.print(table)
    if power.bundle_caught.trials:
        console.print(
            f"through the command line, exit code 1: {_count(power.bundle_caught)} faults, "
            f"{_count(power.bundle_alarms)} right bundles"
        )
    console.print(f"harmless by the stated test, counted apart: {len(power.harmless)}")
    for word, cases in (("missed", power.missed), ("false alarm", power.alarmed)):
        for case in cases:
            console.print(f"{word}: {_name(case)}{_effect(case)}", markup=False)


def write_page(path: Path, cases: Sequence[Case], *, quick: bool) -> None:
    """Write the page, and its picture into ``images/`` beside it."""
    picture = path.parent / "images" / f"{path.stem}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    power = power_of(cases)
    draw_power(power).write(picture)
    write_whole(path, page(cases, power, picture=f"images/{picture.name}", quick=quick).encode())


def page(cases: Sequence[Case], power: Power, *, picture: str, quick: bool) -> str:
    """Return the page's text."""
    ours = power.rules[0]
    planted = sum(case.group == "fault" for case in cases)
    versions = current_settings(quick=quick).versions
    lines = [
        "# Faults: the power of the parity check, measured",
        "",
        "Written by `python -m evaluate faults --page docs/faults.md`, which goes on where it was stopped."
        + (" This is a quick run." if quick else ""),
        "Faults are planted in correct modules, weights and graphs, and judged by what judges an export; so are",
        "variants that are right: other runtimes, threads, batches and rewrites. On the very same outputs the",
        "acceptance rules in common use decide, too.",
        "",
        f"**{_count(ours.caught)} faults caught, {_count(ours.alarms)} false alarms.**",
        "",
        f"![Share of faults caught, and of false alarms, by rule]({picture})",
        "",
        "| rule | asks for | caught | 95 % | false alarms | 95 % | caught, on samples alone |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *_rule_rows(power),
        "",
        "Every rule is given the same outputs on all input sets of a certificate, and objects if it does on any of",
        "them: more than its users give it. The last column gives it the held-out samples alone. Ours compares with",
        "float64, dynamo's with both, the others with eager's float32. What cannot be loaded, fails, or has another",
        "shape or dtype is caught by every rule. Intervals are Clopper and Pearson's, as if cases were independent;",
        "faults of one network are not quite.",
        "",
        "## What was planted",
        "",
        "| faults of | kinds | planted | change the function | caught by ours | missed |",
        "| --- | --- | --- | --- | --- | --- |",
        *_family_rows(cases),
        "",
        "Planted in " + ", ".join(f"`{name}` ({subject.kind})" for name, subject in subjects().items()) + ".",
        "Weights are drawn from seeds; the last layer is scaled so that logits or predictions have standard deviation",
        "0.01, 1 or 100.",
        "Inputs are drawn pictures and random rows. Faults in modules are traced to TorchScript; those in weights and",
        "graphs are judged in ONNX, as ONNX Runtime rewrites it and as it was written; but where the exporter merges",
        "batch normalisation into convolutions, weights are spoilt in TorchScript, too. Faults in a bundle are planted",
        "in the digits model, trained and exported by the commands; all digests fit again, and",
        "`python -m evaluate parity` is to end with exit code 1.",
        "",
        "## Harmless faults",
        "",
        STATED,
        "For graphs that were edited, ONNX's reference implementation computes in float64.",
        f"{len(power.harmless)} of {planted} are harmless: no share above counts them. Ours objects to "
        f"{power.harmless_reported} of them.",
        "",
        *_kinds(power.harmless),
        "",
        "## Missed",
        "",
        *_missed(power.missed),
        "",
        "## False alarms",
        "",
        *_alarmed(power),
        "",
        f"Made with {', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores.",
    ]
    return "\n".join(lines) + "\n"


def _rule_rows(power: Power) -> list[str]:
    says = {OURS: "rmse 3 x and maximum 6 x eager's own, against float64"} | {rule.name: rule.says for rule in RULES}
    return [
        f"| {rule.name} | {says[rule.name]} | {_count(rule.caught)} | {_interval(rule.caught)} | {_count(rule.alarms)} "
        f"| {_interval(rule.alarms)} | {_count(rule.caught_samples)} |"
        for rule in power.rules
    ]


def _family_rows(cases: Sequence[Case]) -> list[str]:
    rows = []
    for family, words in _FAMILIES.items():
        planted = [case for case in cases if case.group == "fault" and case.family == family]
        telling = [case for case in planted if not case.harmless]
        caught = sum(case.rejects[OURS] for case in telling)
        if planted:
            kinds = len({case.kind for case in planted})
            rows.append(f"| {words} | {kinds} | {len(planted)} | {len(telling)} | {caught} | {len(telling) - caught} |")
    return rows


def _kinds(cases: Sequence[Case]) -> list[str]:
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        found[case.kind].append(case)
    return [
        f"- {kind}: {len(group)} ({', '.join(dict.fromkeys(case.subject for case in group))})"
        for kind, group in sorted(found.items())
    ]


def _missed(cases: Sequence[Case]) -> list[str]:
    if not cases:
        return ["None."]
    return [
        "These change the function by more than the test above allows, and ours lets them pass. A fault can hide",
        "where it moves outputs by less than the room that is left for another order of summation, 3 x in rmse and 6 x",
        "in the greatest error; and in probabilities by more, where they are what softmax makes of logits that pass.",
        "",
        *(f"- {_name(case)}{_effect(case)}" for case in cases),
    ]


def _alarmed(power: Power) -> list[str]:
    lines = [f"- {_name(case)}: {case.reason}" for case in power.alarmed] or ["None."]
    if power.coarse:
        worst = max((case.ratio or 0.0 for case in power.coarse), default=0.0)
        objected = sum(case.rejects[OURS] for case in power.coarse)
        lines += [
            "",
            "Counted apart: Winograd's convolutions, which PyTorch takes from NNPACK where oneDNN is off, compute the",
            f"same function more coarsely by construction. Ours objects to {objected} of {len(power.coarse)}, whose",
            f"error is up to {worst:.1f} times what it allows: by its own words, they are further from the truth than",
            "PyTorch's usual float32 is.",
        ]
    return lines


def _name(case: Case) -> str:
    where = case.subject if case.scale is None else f"{case.subject} at scale {case.scale:g}"
    return f"{case.kind}, {where}"


def _effect(case: Case) -> str:
    if case.effect is None:
        return ""
    return f": it moves outputs by at most {case.effect:.2g} x the greatest error of PyTorch's own float32"


def _count(share: Share) -> str:
    return f"{share.events} / {share.trials}"


def _interval(share: Share) -> str:
    low, high = share.interval_95
    return f"{100 * low:.1f} to {100 * high:.1f}"
