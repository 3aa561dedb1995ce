"""The ways one graph is run in: rewritten or as it was written, with all threads or one, and which graphs at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluate.plan import Plan
from evaluate.trouble import ParityError
from serve.bundle import Bundle, FileEntry
from train.wording import some_names

Optimization = Literal["all", "none"]

RUNNERS: dict[str, tuple[str, str]] = {  # format and precision of the file that each of them runs
    "onnx": ("onnx", "float32"),
    "torchscript": ("torchscript", "float32"),
    "exported-program": ("exported-program", "float32"),
    "onnx-fp16": ("onnx", "float16"),
    "onnx-int8": ("onnx", "int8"),
}
_FORMATS = {kind for kind, _ in RUNNERS.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run a graph.

    Attributes:
        optimized: Whether ONNX Runtime may rewrite the graph first, as it does when serving.
        threads: Threads of one run; None means as many as all others use.
    """

    optimized: bool = True
    threads: int | None = None


AS_SERVED = Way()


def ways_of(plan: Plan, *, optimization: Optimization | None = None) -> tuple[Way, ...]:
    """Return in which ways a graph of full precision is run; one of another precision is run in the first.

    Args:
        plan: Whether as it was written, and with one thread, too.
        optimization: The only level of optimisation that is run, where the caller says so.
    """
    both = optimization is None and plan.unoptimized
    levels = (True, False) if both else (optimization != "none",)
    every = [Way(optimized=level) for level in levels]
    return (*every, Way(optimized=levels[0], threads=1)) if plan.one_thread else tuple(every)


def graph_files(bundle: Bundle) -> tuple[FileEntry, ...]:
    """Return a bundle's graphs in the order of its manifest."""
    return tuple(entry for entry in bundle.manifest.files if entry.format in _FORMATS)


def choose_graphs(bundle: Bundle, runners: Sequence[str]) -> tuple[str, ...]:
    """Return the file names of the graphs that are meant: by what runs them or by name; nothing named means all.

    Raises:
        ParityError: the bundle holds no such graph.
    """
    files = graph_files(bundle)
    if not runners:
        return tuple(entry.path for entry in files)
    for runner in runners:
        if not any(_is_meant(entry, runner) for entry in files):
            raise ParityError(
                f"--runners names {runner}, but {bundle.path} holds {some_names([entry.path for entry in files])}; "
                f"name one of those, or one of {', '.join(RUNNERS)} that was exported"
            )
    return tuple(entry.path for entry in files if any(_is_meant(entry, runner) for runner in runners))


def _is_meant(entry: FileEntry, runner: str) -> bool:
    return entry.path == runner or RUNNERS.get(runner) == (entry.format, entry.precision or "float32")
