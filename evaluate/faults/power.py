"""What the cases come to: caught and false alarms, rule by rule, with exact intervals; and what is missed."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluate.compare import interval
from evaluate.faults.case import Case
from evaluate.faults.rules import OURS, RULES
from evaluate.in_process import FAILS, HOLDS

NAMES: tuple[str, ...] = (OURS, *(rule.name for rule in RULES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of how many, with the exact 95 % interval of the rate."""

    events: int
    trials: int

    @property
    def rate(self) -> float:
        """Share, 0 of nothing."""
        return self.events / self.trials if self.trials else 0.0

    @property
    def interval_95(self) -> tuple[float, float]:
        """Clopper-Pearson."""
        return interval(self.events, self.trials) if self.trials else (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePower:
    """One rule.

    Attributes:
        caught: Faults that change the function, and that it objects to.
        alarms: Correct variants that it objects to.
        caught_samples: As `caught`, were it given the held-out samples alone.
        alarms_samples: As `alarms`, likewise.
    """

    name: str
    caught: Share
    alarms: Share
    caught_samples: Share
    alarms_samples: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPower:
    """What ``python -m evaluate parity`` ended with, on bundles on disk.

    Attributes:
        caught: Faults that change the function, and that ended with exit code 1.
        caught_with_data: Those, and those that did where all samples were given.
        missed: Faults that ended with 0 on the samples that the bundle carries.
        alarms: Right bundles that ended with 1.
        harmless: Harmless faults that did.
        trouble: What ended with another code, of all of them.
        disagreeing: What ended otherwise than the same graph did before the judge itself.
    """

    caught: Share
    caught_with_data: Share
    missed: tuple[Case, ...]
    alarms: Share
    harmless: Share
    trouble: tuple[Case, ...]
    disagreeing: tuple[Case, ...]

    @property
    def passed(self) -> bool:
        """Whether every fault ended with exit code 1, at the latest with all samples, and every right bundle with 0."""
        all_caught = self.caught_with_data.events == self.caught_with_data.trials
        return all_caught and self.alarms.events == 0 and not self.trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """All of them, over the cases that every rule judged; what only the command line judges is counted apart.

    Attributes:
        harmless: Faults that change nothing; ``harmless_reported`` of them ours objects to all the same.
        missed: Faults that change the function, and that ours lets pass, of the command line, too.
        alarmed: Correct variants that ours objects to, likewise.
        coarse: Variants that compute the function more coarsely than PyTorch by construction.
        command: What the command line made of wrong graphs and right bundles.
    """

    rules: tuple[RulePower, ...]
    harmless: tuple[Case, ...]
    harmless_reported: int
    missed: tuple[Case, ...]
    alarmed: tuple[Case, ...]
    coarse: tuple[Case, ...]
    command: CommandPower

    @property
    def passed(self) -> bool:
        """Whether every fault that changes the function was caught, and no correct variant objected to."""
        return not self.missed and not self.alarmed and self.rules[0].caught.trials > 0 and self.command.passed


def power_of(cases: Sequence[Case]) -> Power:
    """Count the cases."""
    harmless = tuple(case for case in cases if case.group == "fault" and case.harmless)
    faults = [case for case in cases if case.group == "fault" and not case.harmless]
    coarse = tuple(case for case in cases if case.family == "coarse")
    right = [case for case in cases if case.group == "variant" and case.family != "coarse"]
    everywhere = [[case for case in group if case.family != "bundle"] for group in (faults, right)]
    return Power(
        rules=tuple(_rule(name, *everywhere) for name in NAMES),
        harmless=harmless,
        harmless_reported=sum(case.rejects[OURS] for case in harmless),
        missed=tuple(case for case in faults if not case.rejects[OURS]),
        alarmed=tuple(case for case in right if case.rejects[OURS]),
        coarse=coarse,
        command=command_power(cases),
    )


def command_power(cases: Sequence[Case]) -> CommandPower:
    """Count the cases that went through the command line."""
    judged = [case for case in cases if case.exit_code is not None]
    faults = [case for case in judged if case.group == "fault" and not case.harmless]
    harmless = [case for case in judged if case.group == "fault" and case.harmless]
    right = [case for case in judged if case.group == "variant"]
    trouble = [case for case in judged if not {case.exit_code, case.exit_code_with_data} <= {HOLDS, FAILS, None}]
    return CommandPower(
        caught=_exits(faults, FAILS),
        caught_with_data=Share(events=sum(case.caught_by_command for case in faults), trials=len(faults)),
        missed=tuple(case for case in faults if case.exit_code == HOLDS),
        alarms=_exits(right, FAILS),
        harmless=Share(events=sum(case.caught_by_command for case in harmless), trials=len(harmless)),
        trouble=tuple(trouble),
        disagreeing=tuple(
            case for case in judged if case not in trouble and case.rejects[OURS] != case.caught_by_command
        ),
    )


def _exits(cases: Sequence[Case], code: int) -> Share:
    return Share(events=sum(case.exit_code == code for case in cases), trials=len(cases))


def share(cases: Sequence[Case], rule: str, *, samples: bool = False) -> Share:
    """Return how many cases a rule objects to."""
    found = sum((case.rejects_samples if samples else case.rejects)[rule] for case in cases)
    return Share(events=found, trials=len(cases))


def _rule(name: str, faults: Sequence[Case], right: Sequence[Case]) -> RulePower:
    return RulePower(
        name=name,
        caught=share(faults, name),
        alarms=share(right, name),
        caught_samples=share(faults, name, samples=True),
        alarms_samples=share(right, name, samples=True),
    )
