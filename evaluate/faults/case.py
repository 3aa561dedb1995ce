"""What is known of one planted fault or correct variant, and the file that keeps a line of each."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

PACKAGES = ("torch", "onnx", "onnxscript", "numpy")
T = TypeVar("T")
Group = Literal["fault", "variant"]


class FaultsError(ValueError):
    """A measurement that cannot be made as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the cases, beside this project's own source; cases of other settings are made anew.

    ``by_command`` says whether each of them is judged through the command line, too.
    """

    quick: bool
    by_command: bool
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """All cases of one module were tried; where a kind has none, it does not fit."""

    finished: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault, or one correct variant.

    Attributes:
        subject: The architecture.
        scale: Standard deviation of its logits or predictions; None of a bundle that was trained.
        seed: Of its weights.
        kind: What is wrong, or what varies.
        place: Where it was planted, or what ran it.
        rejects: Whether each rule objects, by name, given all input sets.
        rejects_samples: The same, given the held-out samples alone.
        harmless: Whether it changes nothing, by the stated test.
        ratio: Greatest error over what ours allows, None where something was no number.
        reason: Why ours objects, or None.
        effect: How far a fault that ours misses moves outputs in float64, as a multiple of eager's greatest error in
            float32; None of others.
        exit_code: Of ``python -m evaluate parity`` on a bundle with that graph; None where no bundle was made.
        exit_code_with_data: Where that is 0, the same with all samples given; None elsewhere.
        said: What kept that from exit code 0, or None.
    """

    group: Group
    subject: str
    scale: float | None
    seed: int
    family: str
    kind: str
    place: str
    rejects: dict[str, bool]
    rejects_samples: dict[str, bool]
    harmless: bool
    ratio: float | None
    reason: str | None
    effect: float | None = None
    exit_code: int | None = None
    exit_code_with_data: int | None = None
    said: str | None = None

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return case_key(self.group, self.subject, self.scale, self.seed, self.kind)

    @property
    def caught_by_command(self) -> bool:
        """Whether one of the two ended with exit code 1."""
        return 1 in {self.exit_code, self.exit_code_with_data}


def case_key(group: Group, subject: str, scale: float | None, seed: int, kind: str) -> str:
    """Return what tells a case from all others."""
    return f"{group} {subject} x{'' if scale is None else format(scale, 'g')} #{seed} {kind}"


def current_settings(*, quick: bool) -> Settings:
    """Return the settings of a run that starts now."""
    return Settings(quick=quick, by_command=not quick, versions={name: version(name) for name in PACKAGES})


class Journal:
    """A file with the settings in the first line, and a case in each one after it.

    Args:
        path: Where it is or will be; lines of other settings, and one that was cut off, are dropped.
        settings: Of this run.
        again: Keep nothing of what is there.
    """

    def __init__(self, path: Path, settings: Settings, *, again: bool = False) -> None:
        self._path = path
        self.cases: dict[str, Case] = {}
        self.finished: set[str] = set()
        try:
            lines = [] if again else path.read_bytes().splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise FaultsError(f"{path} cannot be read ({error.strerror}), but cases stand there; give --out") from error
        if lines and _decode(lines[0], Settings) == settings:
            for line in lines[1:]:
                case, finished = _decode(line, Case), _decode(line, Finished)
                if case is not None:
                    self.cases[case.key] = case
                if finished is not None:
                    self.finished.add(finished.finished)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = (settings, *self.cases.values(), *(Finished(finished=name) for name in sorted(self.finished)))
            path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in kept))
        except OSError as error:
            raise FaultsError(
                f"{path} cannot be written to ({error.strerror}), but each case has a line there; give another --out"
            ) from error

    def add(self, case: Case) -> None:
        """Keep a case."""
        self.cases[case.key] = case
        self._append(case)

    def finish(self, name: str) -> None:
        """Keep that all cases of a module were tried."""
        self.finished.add(name)
        self._append(Finished(finished=name))

    def _append(self, record: Case | Finished) -> None:
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")


def _decode(line: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError:
        return None
