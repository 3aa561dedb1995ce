"""What came of one recipe, as a file: written whole, and good for as long as the recipe and the source are the same."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from train.recipes.recipe import Recipe
from train.whole_file import write_whole

PACKAGES = ("serve", "train", "export", "evaluate")
# These judge and show what was measured; changing them makes nothing that was measured another thing.
SHOWING = frozenset(
    {"judge.py", "rows.py", "lines.py", "points.py", "linear.py", "clothes.py", "food.py", "expected.py"}
    | {"examples.py", "worked.py", "mistake.py", "mistakes.py", "page.py"}
)


class ResultError(ValueError):
    """A result that cannot be read or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it was done, without names: versions, processor, cores."""

    python: str
    torch: str
    system: str
    instructions: str
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was done.

    Attributes:
        name: ``train``, ``export``, ``parity``, ``serve``, ``batch`` or ``measure``.
        passed: Whether what it is to show was shown.
        note: What was shown, in a few words.
        duration_s: How long it took.
    """

    name: str
    passed: bool
    note: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A recipe, gone all the way.

    Attributes:
        recipe: Its name.
        recipe_sha256: Digest of its definition.
        source_sha256: Digest of the source files of all packages.
        source_revision: Of the checkout, or None outside one.
        machine: Where it was done.
        steps: What was done, in order.
        values: Our numbers, by quantity.
        seeds: Our numbers over seeds, by quantity.
    """

    recipe: str
    recipe_sha256: str
    source_sha256: str
    source_revision: str | None
    machine: Machine
    steps: tuple[Step, ...]
    values: dict[str, float]
    seeds: dict[str, list[float]]

    @property
    def passed(self) -> bool:
        """Whether every step showed what it is to show."""
        return all(step.passed for step in self.steps)

    @property
    def duration_s(self) -> float:
        """How long all steps took."""
        return sum(step.duration_s for step in self.steps)


def recipe_digest(recipe: Recipe) -> str:
    """Return the sha256 of a recipe's definition."""
    return hashlib.sha256(msgspec.json.encode(recipe, order="sorted")).hexdigest()


def source_digest(root: Path | None = None, packages: Sequence[str] = PACKAGES) -> str:
    """Return the sha256 over the source files of the packages, by path and content."""
    root = root or Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if name.startswith("train/reproduction/") and path.name in SHOWING:
                continue
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def read_result(path: Path) -> Result | None:
    """Read a result; None where there is none.

    Raises:
        ResultError: the file is not valid.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise ResultError(f"{path} is no result ({error}), but one of `reproduce` was expected; delete it") from error


def write_result(path: Path, result: Result) -> None:
    """Write a result, whole or not at all.

    Raises:
        ResultError: it cannot be written.
    """
    write_file(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        ResultError: it cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise ResultError(f"{path} cannot be written ({error.strerror}); free the place or give another") from error
