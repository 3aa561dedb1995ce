"""What is known of one recipe that was trained with one seed, exported and judged, and the file that keeps it."""

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from evaluate.graph_verdict import Verdict
from evaluate.in_process import HOLDS
from evaluate.record_file import read_record, write_record
from serve.bundle import Precision

PACKAGES = ("torch", "onnx", "onnxscript", "numpy")


class AlarmsError(ValueError):
    """A measurement that cannot be made as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One graph, over all the ways in which it was run.

    Attributes:
        format: As `--formats` of the exporter calls it.
        verdict: The worst one.
        ratio: Greatest error over what is allowed; None of reduced precision, and where something was no number.
        reason: What the verdict rests on, where it is not that of a float32 graph that passes.
        drop: Accuracy lost, in [-1, 1]; None where no row is labelled, as for float32.
        flip_share: Share of decisions that differ from eager's; None where nothing is decided, likewise.
        sqnr_db: Least signal to error over the outputs; None likewise.
        copy: Whether it has the very bytes of another one, and that one's verdict.
    """

    format: str
    precision: Precision
    verdict: Verdict
    ratio: float | None
    reason: str | None
    drop: float | None = None
    flip_share: float | None = None
    sqnr_db: float | None = None
    copy: bool = False

    @property
    def passed(self) -> bool:
        """Whether parity takes it."""
        return self.verdict == "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides a result, beside recipe, seed and this project's own source."""

    formats: tuple[str, ...]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One recipe with one seed.

    Attributes:
        recipe_sha256: Digest of its definition.
        source_revision: Of the checkout, or None outside one.
        epochs: That it was trained for; ``planned`` are its own.
        exit_code: Of parity over the whole bundle.
        exact_exit_code: Of parity over the float32 graphs alone.
        graphs: Each format that was written.
        refused: What the exporter said to each format that it did not write, by format.
        wrong: Checks of the bundle itself that do not hold, a sentence each.
        failure: What the command that failed said last, or None; there is nothing else then.
    """

    recipe: str
    seed: int
    settings: Settings
    recipe_sha256: str
    source_revision: str | None
    epochs: int
    planned: int
    train_s: float = 0.0
    export_s: float = 0.0
    parity_s: float = 0.0
    exit_code: int | None = None
    exact_exit_code: int | None = None
    graphs: tuple[Graph, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    failure: str | None = None

    @property
    def name(self) -> str:
        """What files and people call it."""
        return unit_name(self.recipe, self.seed)

    @property
    def alarms(self) -> tuple[Graph, ...]:
        """The float32 graphs that parity does not take, though they are right."""
        return tuple(graph for graph in self.graphs if graph.precision == "float32" and not graph.passed)

    @property
    def passed(self) -> bool:
        """Whether nothing of full precision is objected to, by verdict and by exit code."""
        return self.failure is None and self.exact_exit_code == HOLDS and not self.alarms and not self.wrong


def unit_name(recipe: str, seed: int) -> str:
    """Return what one recipe with one seed is called."""
    return f"{recipe}-seed-{seed}"


def current_settings(formats: tuple[str, ...]) -> Settings:
    """Return the settings of a run that starts now."""
    return Settings(formats=formats, versions={name: version(name) for name in PACKAGES})


def read_result(folder: Path, name: str) -> Result | None:
    """Read a result, or None where there is none that can be read."""
    return read_record(folder / f"{name}.json", Result)


def write_result(folder: Path, result: Result) -> None:
    """Write a result whole or not at all."""
    write_record(folder / f"{result.name}.json", result)
