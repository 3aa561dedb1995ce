"""All faults and all correct variants of all subjects; what is in the journal already is kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluate.faults.bundled import Bundled
from evaluate.faults.case import Case, FaultsError, Journal, current_settings
from evaluate.faults.graphs import GraphMaker
from evaluate.faults.ground import prepare
from evaluate.faults.in_bundle import SUBJECT, bundle_cases
from evaluate.faults.modules import bundle_variant_cases, fault_cases, variant_cases
from evaluate.faults.subjects import subjects
from evaluate.torch_threads import torch_threads
from train.workplace import NEW, Kind, put_back, workplace

SCALES = (0.01, 1.0, 100.0)
_MORE_SEEDS = 1
_WORK = Kind(name="faults", last="bundles", is_whole=lambda _: False)  # nothing of it is kept
_QUICK = ("mlp", "table", "circles-v2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module that cases are made of: an architecture, an output scale, weights of a seed."""

    subject: str
    scale: float
    seed: int
    faults: bool

    @property
    def name(self) -> str:
        """How the journal calls it."""
        return f"{self.subject} x{self.scale:g} #{self.seed}"


def modules_of(names: tuple[str, ...], *, quick: bool) -> tuple[Module, ...]:
    """Return the modules of some subjects, or of all; a quick run takes few.

    Raises:
        FaultsError: there is no such subject.
    """
    known = subjects()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FaultsError(f"subject {unknown[0]!r} does not exist, but one of {', '.join(known)} was expected")
    found = []
    for name in dict.fromkeys(names) or (_QUICK if quick else tuple(known)):
        for seed, scale in enumerate((1.0,) if quick else SCALES):
            found.append(Module(subject=name, scale=scale, seed=seed, faults=True))
            others = 0 if quick else _MORE_SEEDS
            found += [
                Module(subject=name, scale=scale, seed=10 * (other + 1) + seed, faults=False) for other in range(others)
            ]
    return tuple(found)


def measure(
    modules: tuple[Module, ...],
    folder: Path,
    *,
    quick: bool,
    bundle: bool = False,
    again: bool = False,
    on_module: Callable[[str], None] = lambda _: None,
    on_case: Callable[[Case], None] = lambda _: None,
) -> tuple[Case, ...]:
    """Make all cases that are not there yet, and return all.

    torch runs on one thread meanwhile: for networks so small, more only wait for each other.

    Args:
        modules: What faults are planted in.
        folder: Where a line of each case stands, and stays, in a file of each subject.
        quick: Without the boundary, large batches, and all that is judged through the command line.
        bundle: Also those of a bundle that was trained and exported by the commands.
        again: Keep nothing of what is there.
        on_module: Told what comes next.
        on_case: Told each case that was made.

    Raises:
        FaultsError: the folder cannot be written to, or a command failed that must not.
    """

    def journal_of(subject: str) -> Journal:
        name = f"{subject.replace(', ', '-')}{'-quick' if quick else ''}.jsonl"
        return Journal(folder / name, current_settings(quick=quick), again=again)

    journals = {subject: journal_of(subject) for subject in dict.fromkeys(module.subject for module in modules)}
    put_back(folder / _WORK.last, _WORK)  # there is nothing to put back, but bundles that kills left to clear
    found: list[Case] = []
    with torch_threads(1):
        for module in modules:
            on_module(module.name)
            journal = journals[module.subject]
            if module.name not in journal.finished:
                with workplace(folder / _WORK.last, _WORK) as place:
                    for case in _cases(module, journal, place / NEW, quick=quick):
                        journal.add(case)
                        on_case(case)
                journal.finish(module.name)
            found += [case for case in journal.cases.values() if (case.scale, case.seed) == (module.scale, module.seed)]
        if bundle:
            on_module(SUBJECT)
            journal = journal_of(SUBJECT)
            for case in bundle_cases(folder, known=journal.cases.__contains__):
                journal.add(case)
                on_case(case)
            found += journal.cases.values()
    return tuple(found)


def _cases(module: Module, journal: Journal, place: Path, *, quick: bool) -> Iterator[Case]:
    subject = subjects()[module.subject]
    ground = prepare(subject, scale=module.scale, seed=module.seed, quick=quick)
    maker = GraphMaker(ground.module, subject, ground.samples)
    known = journal.cases.__contains__
    bundled = None if quick else Bundled(ground, place)
    if module.faults:
        yield from fault_cases(ground, maker, known=known, bundled=bundled)
    if bundled is not None:
        yield from bundle_variant_cases(ground, bundled, known=known)
    yield from variant_cases(ground, maker, known=known, costly=module.faults)
