"""The page of the measurement, and the same in a terminal."""

import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from evaluate.faults.case import Case, current_settings
from evaluate.faults.chart import draw_power
from evaluate.faults.command_page import command_lines
from evaluate.faults.harmless import STATED
from evaluate.faults.power import Power, power_of
from evaluate.faults.rules import OURS, RULES
from evaluate.faults.subjects import subjects
from evaluate.faults.wording import FAMILIES, count, effect_in_words, interval_95, name_of
from evaluate.fitting_table import print_fitting
from train.whole_file import write_whole


def print_power(power: Power, console: Console) -> None:
    """Print the table of rules, and what was missed or cried wolf."""
    table = Table()
    for name in ("rule", "caught", "95 %", "false alarms", "95 %"):
        table.add_column(name)
    for rule in power.rules:
        table.add_row(
            rule.name.replace("`", ""),
            count(rule.caught),
            interval_95(rule.caught),
            count(rule.alarms),
            interval_95(rule.alarms),
        )
    print_fitting(console, table)
    command = power.command
    if command.caught.trials:
        console.print(
            f"through the command line, exit code 1: {count(command.caught)} faults, "
            f"{count(command.caught_with_data)} with all samples given, {count(command.alarms)} right bundles"
        )
    console.print(f"harmless by the stated test, counted apart: {len(power.harmless)}")
    for word, cases in (("missed", power.missed), ("false alarm", power.alarmed)):
        for case in cases:
            console.print(f"{word}: {name_of(case)}{effect_in_words(case)}", markup=False)
    for word, cases in (("trouble", command.trouble), ("otherwise than the judge", command.disagreeing)):
        for case in cases:
            console.print(f"{word}: {name_of(case)}, exit code {case.exit_code}", markup=False)


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
    found = {case.subject for case in cases}
    versions = current_settings(quick=quick).versions | {"onnxruntime": onnxruntime.__version__}
    lines = [
        "# Faults: the power of the parity check, measured",
        "",
        "Written by `python -m evaluate faults --page docs/faults.md`, which goes on where it was stopped."
        + (" This is a quick run." if quick else ""),
        "Faults are planted in correct modules, weights and graphs, and judged by what judges an export; so are",
        "variants that are right: other runtimes, threads, batches and rewrites. On the very same outputs the",
        "acceptance rules in common use decide, too.",
        "",
        f"**{count(ours.caught)} faults caught, {count(ours.alarms)} false alarms.**",
        *(
            [
                f"**Through the command line: exit code 1 on {count(power.command.caught)} faults, on "
                f"{count(power.command.caught_with_data)} with all samples given, and on {count(power.command.alarms)} "
                "right bundles.**"
            ]
            if power.command.caught.trials
            else []
        ),
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
        "Planted in "
        + ", ".join(f"`{name}` ({subject.kind})" for name, subject in subjects().items() if name in found)
        + ".",
        "Weights are drawn from seeds; the last layer is scaled so that logits or predictions have standard deviation",
        "0.01, 1 or 100.",
        "Inputs are drawn pictures and random rows. Faults in modules are traced to TorchScript; those in weights and",
        "graphs are judged in ONNX, as ONNX Runtime rewrites it and as it was written; but where the exporter merges",
        "batch normalisation into convolutions, weights are spoilt in TorchScript, too.",
        "",
        *command_lines(cases, power.command),
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
        f"| {rule.name} | {says[rule.name]} | {count(rule.caught)} | {interval_95(rule.caught)} | {count(rule.alarms)} "
        f"| {interval_95(rule.alarms)} | {count(rule.caught_samples)} |"
        for rule in power.rules
    ]


def _family_rows(cases: Sequence[Case]) -> list[str]:
    rows = []
    for family, words in FAMILIES.items():
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
        "These change the function by more than the test above allows, and by outputs alone ours lets them pass. Such",
        "a fault hides where it moves outputs by less than the room that is left for another order of summation, 3 x",
        "in rmse and 6 x in the greatest error; and in probabilities by more, where they are what softmax makes of",
        "logits that pass.",
        "",
        *(f"- {name_of(case)}{effect_in_words(case)}{_by_command(case)}" for case in cases),
    ]


def _by_command(case: Case) -> str:
    """Say where the command line catches what the judge misses: it compares weights, and seeks the worst inputs."""
    return f"; the command line ends with exit code 1 ({case.said})" if case.caught_by_command else ""


def _alarmed(power: Power) -> list[str]:
    lines = [f"- {name_of(case)}: {case.reason}" for case in power.alarmed] or ["None."]
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
