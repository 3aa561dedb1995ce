"""MLPerf's load generator sends queries to one runner: one after the other, all at once, and as a crowd would.

The figures are the load generator's own. They are no MLPerf result: that also needs a reference model, its data set, an
accuracy run and a submission.
"""

import queue
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluate.bench.result import BenchError, Scenario
from evaluate.runners import RUN_ERRORS
from export.first_line import last_line
from serve.runner import Runner

SCENARIOS = ("SingleStream", "Offline", "Server")
_NS_PER_S = 1e9
_NS_PER_MS = 1e6
_MARGIN = 2.0  # the load generator makes its queries beforehand; with too few, it ends before the time it was given
_FIGURES = {  # what a scenario is measured by, as its summary calls it
    "SingleStream": "90.0th percentile latency (ns)",
    "Offline": "Samples per second",
    "Server": "Completed samples per second",
}


class Answering:
    """Answers what is queued: as many rows at once as are there, up to the largest batch, as the server does.

    Args:
        runner: What answers.
        inputs: Rows by input name; sample number i of the load generator is row i.
        largest: Rows of one run, at most.
        complete: Told the numbers of queries that are answered.
    """

    def __init__(
        self,
        runner: Runner,
        inputs: Mapping[str, NDArray[Any]],
        *,
        largest: int,
        complete: Callable[[Sequence[int]], None],
    ) -> None:
        self.fault: str | None = None
        self._runner = runner
        self._inputs = inputs
        self._largest = largest
        self._complete = complete
        self._queue: queue.SimpleQueue[list[tuple[int, int]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="loadgen-answers", daemon=True)
        self._thread.start()

    def issue(self, samples: Sequence[tuple[int, int]]) -> None:
        """Take queries, each with the row that it asks for, and return at once."""
        for start in range(0, len(samples), self._largest):
            self._queue.put(list(samples[start : start + self._largest]))

    def close(self) -> None:
        """Answer what is queued, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        waiting: list[tuple[int, int]] | None = self._queue.get()
        while waiting is not None:
            following: list[tuple[int, int]] | None = []
            while following is not None and len(waiting) < self._largest and not self._queue.empty():
                following = self._queue.get()
                waiting += following or []
            for start in range(0, len(waiting), self._largest):
                self._answer(waiting[start : start + self._largest])
            waiting = None if following is None else self._queue.get()

    def _answer(self, samples: Sequence[tuple[int, int]]) -> None:
        rows = [row for _, row in samples]
        try:
            self._runner.run({name: values[rows] for name, values in self._inputs.items()})
        except RUN_ERRORS as error:
            self.fault = last_line(error)
        self._complete([query for query, _ in samples])  # of what failed, too: the load generator waits for every one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Load:
    """Who is asked, for how long, and what is known of him.

    Attributes:
        graph: What the runner is called.
        runner: What answers.
        inputs: Rows by input name.
        largest: Rows of one run, at most.
        rows_per_s: What the runner does at batch 1, and at its best; decides how many queries are made beforehand.
        seconds: How long a scenario lasts, at least.
        target_qps: Queries a second of Server; None means half of what the runner does one by one.
        latency_ms: What 99 % of Server's answers may take.
    """

    graph: str
    runner: Runner
    inputs: Mapping[str, NDArray[Any]]
    largest: int
    rows_per_s: tuple[float, float]
    seconds: float
    target_qps: float | None
    latency_ms: float


def run_scenario(scenario: str, load: Load) -> Scenario:
    """Run one of `SCENARIOS`.

    Raises:
        BenchError: the runner fails.
    """
    import mlperf_loadgen as generator

    def complete(queries: Sequence[int]) -> None:
        generator.QuerySamplesComplete([generator.QuerySampleResponse(query, 0, 0) for query in queries])

    settings = generator.TestSettings()
    settings.scenario = getattr(generator.TestScenario, scenario)
    settings.mode = generator.TestMode.PerformanceOnly
    settings.min_duration_ms = round(1000 * load.seconds)
    settings.single_stream_expected_latency_ns = max(1, round(_NS_PER_S / load.rows_per_s[0] / _MARGIN))
    settings.offline_expected_qps = _MARGIN * load.rows_per_s[1]
    settings.server_target_qps = load.target_qps or load.rows_per_s[0] / 2
    settings.server_target_latency_ns = round(_NS_PER_MS * load.latency_ms)
    inputs = {name: np.ascontiguousarray(values) for name, values in load.inputs.items()}
    rows = len(next(iter(inputs.values())))
    answering = Answering(load.runner, inputs, largest=load.largest, complete=complete)
    with tempfile.TemporaryDirectory() as folder:
        logs = generator.LogSettings()
        logs.log_output.outdir = folder
        logs.enable_trace = False
        # rows are in memory already: nothing to load, nothing to free
        library = generator.ConstructQSL(rows, rows, lambda _: None, lambda _: None)
        system = generator.ConstructSUT(
            lambda samples: answering.issue([(sample.id, sample.index) for sample in samples]), lambda: None
        )
        try:
            # it reads a file of that name in the working directory unless told another
            generator.StartTestWithLogSettings(system, library, settings, logs, str(Path(folder) / "audit.config"))
        finally:
            generator.DestroySUT(system)
            generator.DestroyQSL(library)
            answering.close()
        text = (Path(folder) / "mlperf_log_summary.txt").read_text(encoding="utf-8", errors="replace")
    if answering.fault is not None:
        raise BenchError(
            f"{load.graph} fails under --loadgen ({answering.fault}); prove it with `python -m evaluate parity`"
        )
    return read_summary(text, scenario=scenario, graph=load.graph)


def read_summary(text: str, *, scenario: str, graph: str) -> Scenario:
    """Read the load generator's summary.

    Raises:
        BenchError: it does not say what the scenario is measured by.
    """
    summary: dict[str, str] = {}
    advice: list[str] = []
    recommends = False
    for line in text.splitlines():
        key, separator, value = (part.strip() for part in line.partition(" : "))
        if key.startswith("*"):
            advice += [key.removeprefix("*").strip()] if recommends else []
        elif line.endswith(":"):
            recommends = line.startswith("Recommendations")
        elif separator or ":" in line:
            key, _, value = (part.strip() for part in line.partition(":"))
            if value:
                summary.setdefault(key, value)
    figure = _FIGURES[scenario]
    if figure not in summary or "Result is" not in summary:
        raise BenchError(
            f"the load generator's summary of {scenario} says no {figure!r}; use the version of mlcommons-loadgen that "
            "constraints.txt names"
        )
    valid = summary["Result is"] == "VALID"
    return Scenario(
        scenario=scenario,
        graph=graph,
        valid=valid,
        figure=figure,
        value=float(summary[figure]),
        summary=summary,
        advice=() if valid else tuple(f"{key}: NO" for key, value in summary.items() if value == "NO") + tuple(advice),
    )


def run_all(load: Load, *, on_scenario: Callable[[str], None]) -> tuple[Scenario, ...]:
    """Run all scenarios, one after the other."""
    found = []
    for scenario in SCENARIOS:
        on_scenario(scenario)
        found.append(run_scenario(scenario, load))
    return tuple(found)
