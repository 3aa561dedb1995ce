"""What the page says of faults that went through the command line."""

from collections.abc import Sequence

from evaluate.faults.case import Case
from evaluate.faults.power import CommandPower
from evaluate.faults.rules import OURS
from evaluate.faults.wording import FAMILIES, count, interval_95, name_of
from evaluate.in_process import FAILS, HOLDS


def command_lines(cases: Sequence[Case], power: CommandPower) -> list[str]:
    """Return the section; nothing where nothing went that way."""
    if not power.caught.trials:
        return []
    scales = sorted({case.scale for case in cases if case.exit_code is not None and case.scale is not None})
    told = ", ".join(f"{scale:g}" for scale in scales) or "none"
    return [
        "## Through the command line",
        "",
        "Each of these wrong graphs is also written into a bundle on disk, beside the right `state_dict.pt` and right",
        "golden outputs, sealed so that every digest fits, and `python -m evaluate parity BUNDLE` judges it in full.",
        f"Output scales: {told}. Such a bundle has no recipe: it is judged on the 32 samples that it carries,",
        "where the judge itself was given 192 above. What ends with exit code 0, as if nothing were wrong, is judged",
        "once more with all 192, given with `--data`. The command also seeks the inputs on which a graph is worst,",
        "which no rule above is given. Faults of a bundle are planted in the digits model, trained and exported by the",
        "commands, and judged in processes of their own.",
        "",
        "| faults of | change the function | exit 1 | exit 1 with all samples | exit 0 with both | other |",
        "| --- | --- | --- | --- | --- | --- |",
        *_rows(cases),
        "",
        f"Exit code 1 on {count(power.caught)} faults, with 95 % confidence {interval_95(power.caught)} %; and on",
        f"{count(power.caught_with_data)} with all samples given, {interval_95(power.caught_with_data)} %.",
        f"Of {power.harmless.trials} harmless ones, {power.harmless.events} end with it.",
        f"Of {power.alarms.trials} runs on right bundles, as exported, with another seed and in quick mode,",
        f"{power.alarms.events} do, with 95 % confidence {interval_95(power.alarms)} %.",
        "",
        *_named("Exit code 0 on a fault, on the samples that the bundle carries", power.missed),
        *_named("Neither 0 nor 1", power.trouble),
        *_disagreeing(power.disagreeing),
    ]


def _rows(cases: Sequence[Case]) -> list[str]:
    judged = [case for case in cases if case.group == "fault" and not case.harmless and case.exit_code is not None]
    rows = [
        _row(words, [case for case in judged if case.family == family])
        for family, words in FAMILIES.items()
        if any(case.family == family for case in judged)
    ]
    return [*rows, _row("**all**", judged)]


def _row(words: str, cases: Sequence[Case]) -> str:
    first = sum(case.exit_code == FAILS for case in cases)
    second = sum(case.exit_code_with_data == FAILS for case in cases)
    held = sum(case.exit_code == HOLDS and case.exit_code_with_data in {HOLDS, None} for case in cases)
    return f"| {words} | {len(cases)} | {first} | {second} | {held} | {len(cases) - first - second - held} |"


def _named(title: str, cases: Sequence[Case]) -> list[str]:
    said = (f"- {name_of(case)}: {_ended(case)}" for case in cases)
    return [f"{title}:", "", *said, ""] if cases else []


def _ended(case: Case) -> str:
    again = "" if case.exit_code_with_data is None else f", {case.exit_code_with_data} with all samples"
    return f"exit code {case.exit_code}{again}" + (f", {case.said}" if case.said else "")


def _disagreeing(cases: Sequence[Case]) -> list[str]:
    if not cases:
        return ["The command line and the judge itself agree on every one of them.", ""]
    return [
        "The command line and the judge itself do not agree on:",
        "",
        *(
            f"- {name_of(case)}: {_ended(case)}; the judge itself "
            + ("objects" if case.rejects[OURS] else "does not object")
            + f" ({case.reason or f'error is {case.ratio or 0:.2g} x the bound'})"
            for case in cases
        ),
        "",
    ]
