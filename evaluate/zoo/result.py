"""What is known of one architecture after it went through export and certificate, and the file that keeps it."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from evaluate.certificate import Mode
from evaluate.graph_verdict import Verdict
from evaluate.record_file import read_record, write_record

PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime-gpu", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One graph of an architecture, on one provider.

    Attributes:
        graph: File name in the bundle.
        size_bytes: Of it, with its weights.
        batch_sizes: Rows of one run that it was judged at.
        rows: Rows that were compared, over all input sets and batch sizes.
        rmse_ratio: Greatest rmse over all outputs and sets, as a multiple of eager's own; at most 3 passes.
        max_ratio: The same of the greatest error; at most 6 passes.
        reason: Why it does not pass, or None.
    """

    graph: str
    provider: str
    optimized: bool
    size_bytes: int
    batch_sizes: tuple[int, ...]
    rows: int
    rmse_ratio: float | None
    max_ratio: float | None
    verdict: Verdict
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides a result, beside this project's own source; a result of other settings is made anew.

    ``side`` is that of all pictures, in pixels, or None where each architecture has its own.
    """

    side: int | None
    mode: Mode
    seed: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One architecture.

    Attributes:
        name: torchvision's.
        side: Pixels of its pictures' sides.
        settings: What it was made with.
        source_revision: Of the checkout, or None outside one.
        machine: What it ran on.
        parameters: How many numbers it learns.
        flops: Floating-point operations of the products of one row.
        export_s: Of the whole command, start and import included.
        certify_s: The same of the certificate.
        peak_bytes: Greatest resident memory of the two.
        graphs: Verdicts; empty where nothing was written.
        failure: What the command that failed said last, or None.
    """

    name: str
    side: int
    settings: Settings
    source_revision: str | None
    machine: str
    parameters: int
    flops: int
    export_s: float
    certify_s: float
    peak_bytes: int
    graphs: tuple[Graph, ...]
    failure: str | None

    @property
    def passed(self) -> bool:
        """Whether every graph passed."""
        return self.failure is None and bool(self.graphs) and all(graph.verdict == "pass" for graph in self.graphs)


def current_settings(*, side: int | None, full: bool, seed: int) -> Settings:
    """Return the settings of a run that starts now."""
    return Settings(
        side=side,
        mode="full" if full else "quick",
        seed=seed,
        versions={name: version(name) for name in PACKAGES},
    )


def read_result(folder: Path, name: str) -> Result | None:
    """Read a result, or None where there is none that can be read."""
    return read_record(folder / f"{name}.json", Result)


def write_result(folder: Path, result: Result) -> None:
    """Write a result whole or not at all."""
    write_record(folder / f"{result.name}.json", result)
