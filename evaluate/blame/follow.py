"""Run the reference beside the graph, each operation also on what the graph itself has before it.

An error that came from before is the same on both sides of such a comparison; only what an operation adds is left. So
the first wrong operator can be told from the first visible consequence.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluate.blame.align import Alignment
from evaluate.blame.lines import Line, Program, run_program, widen
from evaluate.blame.steps import Graph
from serve.parity import RMSE_FACTOR, NumericParity, numeric_parity

CHUNK_BYTES = 128_000_000
"""Most bytes of the graph's values that are held at a time; the graph is run once for each such part."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """One value, compared.

    Attributes:
        line: The operation of PyTorch's that gives it.
        value: Its name in the graph.
        error: Of the graph, from the very beginning, root mean square, as a share of the value's own.
        eager_error: The same of eager's.
        whole: The rule, applied to the whole error from the beginning.
        own: The rule, applied to what this operation adds to it.
        delta: What it adds, ``(batch, …)``, where that is beyond the rule and can be told.
    """

    line: Line
    value: str
    error: float
    eager_error: float
    whole: NumericParity
    own: NumericParity
    delta: Tensor | None

    @property
    def times_eager(self) -> float:
        """The whole error as a multiple of eager's, or of one unit in the last place."""
        return math.inf if self.whole.fault is not None else _times(self.whole)


def _times(parity: NumericParity) -> float:
    return RMSE_FACTOR * parity.rmse / parity.rmse_bound if parity.rmse_bound else 0.0


def follow(
    program: Program, graph: Graph, alignment: Alignment, feeds: Mapping[str, Tensor], *, on_step: Callable[[str], None]
) -> list[Point]:
    """Compare every value that graph and program share.

    Args:
        program: The reference.
        graph: The graph under test, on the same inputs.
        alignment: Which value is which.
        feeds: One tensor per input of the program.
        on_step: Told what is being done.
    """
    fetch = _Fetch(graph, _chunks(program, alignment, feeds))
    # the reference in float64 and in float32 from the beginning; and both again, each on what the graph has before it
    envs: list[dict[str, Any]] = [{}, {}, {}, {}]
    uses = program.last_uses()
    points = []
    with torch.inference_mode():
        for index, line in enumerate(program.lines):
            if index % 50 == 0:
                on_step(f"operation {index} of {len(program.lines)}")
            for env, wide in zip(envs, (True, False, True, False), strict=True):
                env[line.name] = _compute(line, env, feeds, wide=wide)
            value = alignment.value_of.get(line.name)
            if line.kind == "operation" and value is not None:
                found = fetch(value)
                point = compare(line, value, found, [env[line.name] for env in envs])
                if point is not None:
                    points.append(point)
                    if not _unlike(found, envs[0][line.name]):
                        wanted = torch.from_numpy(np.ascontiguousarray(found)).to(envs[3][line.name].dtype)
                        envs[2][line.name], envs[3][line.name] = widen(wanted), wanted
            for name in uses.get(index, ()):
                for env in envs:
                    del env[name]
    return points


def compare(line: Line, value: str, found: NDArray[Any], results: list[Any]) -> Point | None:
    """Compare one value of the graph with an operation's results; None where they are no tensors.

    Args:
        line: The operation.
        value: The name of the value.
        found: The value.
        results: In float64 and in float32 from the beginning, and on what the graph has before the operation.
    """
    if not all(isinstance(result, Tensor) for result in results):
        return None
    reference, eager, own_reference, own_eager = (result.numpy() for result in results)
    whole = judge(found, eager=eager, reference=reference)
    own = judge(found, eager=own_eager, reference=own_reference)
    scale = _rms(reference) or 1.0
    delta = None
    if not own.passed and not _unlike(found, results[2]) and found.dtype.kind != "b":
        delta = torch.from_numpy(found.astype(np.float64) - own_reference.astype(np.float64))
    return Point(
        line=line,
        value=value,
        error=math.inf if whole.fault is not None else whole.rmse / scale,
        eager_error=whole.rmse_bound / RMSE_FACTOR / scale
        if whole.fault is None and reference.dtype.kind == "f"
        else _rms(eager.astype(np.float64) - reference.astype(np.float64)) / scale,
        whole=whole,
        own=own,
        delta=delta,
    )


def judge(found: NDArray[Any], *, eager: NDArray[Any], reference: NDArray[Any]) -> NumericParity:
    """Judge a value between operators by the rule; there, infinity is in order where both have it."""
    if found.shape == reference.shape and reference.size and found.dtype == eager.dtype:
        if reference.dtype.kind == "b":
            found, eager, reference = (values.astype(np.int64) for values in (found, eager, reference))
        odd = ~(np.isfinite(reference) & np.isfinite(eager))
        if odd.any() and np.array_equal(found[odd], eager[odd], equal_nan=True):
            found, eager, reference = found[~odd], eager[~odd], reference[~odd]
    if not reference.size and found.shape == reference.shape:
        return NumericParity(rmse=0.0, rmse_bound=0.0, max_error=0.0, max_bound=0.0, values=0)
    if eager.shape != reference.shape or not reference.size:
        fault = f"shape is {list(found.shape)}, but {list(reference.shape)} was expected"
        return NumericParity(
            rmse=math.nan, rmse_bound=math.nan, max_error=math.nan, max_bound=math.nan, values=0, fault=fault
        )
    return numeric_parity(found, eager=eager, reference=reference)


def changed_outputs(program: Program, feeds: Mapping[str, Tensor], point: Point) -> list[Tensor]:
    """Run the reference in float64 with one operator's own error added, and no other."""

    def change(name: str, result: Any) -> Any:  # noqa: ANN401
        if name != point.line.name or point.delta is None:
            return result
        return (result.double() + point.delta).to(result.dtype)

    return run_program(program, feeds, wide=True, change=change)


class _Fetch:
    """Values of the graph, a chunk at a time, in the order of the lines."""

    def __init__(self, graph: Graph, chunks: Iterator[list[str]]) -> None:
        self._graph = graph
        self._chunks = chunks
        self._held: dict[str, NDArray[Any]] = {}

    def __call__(self, value: str) -> NDArray[Any]:
        while value not in self._held:
            self._held = {}
            self._held = self._graph.values(next(self._chunks))
        return self._held[value]


def _chunks(program: Program, alignment: Alignment, feeds: Mapping[str, Tensor]) -> Iterator[list[str]]:
    sizes: dict[str, int] = {}

    def measure(name: str, result: Any) -> Any:  # noqa: ANN401
        sizes[name] = result.nbytes if isinstance(result, Tensor) else 0
        return result

    run_program(program, feeds, wide=False, change=measure)
    chunk: list[str] = []
    total = 0
    for line in program.lines:
        value = alignment.value_of.get(line.name)
        if value is None or line.kind != "operation":
            continue
        if chunk and total + sizes[line.name] > CHUNK_BYTES:
            yield chunk
            chunk, total = [], 0
        chunk.append(value)
        total += sizes[line.name]
    yield chunk


def _compute(line: Line, env: Mapping[str, Any], feeds: Mapping[str, Tensor], *, wide: bool) -> Any:  # noqa: ANN401
    if line.kind != "input":
        return line.compute(env.__getitem__, wide)
    return widen(feeds[line.name]) if wide else feeds[line.name]


def _unlike(found: NDArray[Any], result: Any) -> bool:  # noqa: ANN401
    return found.shape != tuple(result.shape)


def _rms(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)].astype(np.float64)
    return float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0
