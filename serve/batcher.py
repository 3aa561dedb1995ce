"""The admission queue and the micro-batcher: the only way to a runner, whoever asks."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.answer import Answer, DeadlineError, ModelFaultError, NotReadyError, QueueFullError
from serve.bundle import Precision
from serve.runner import Runner

MAX_BATCH = 64
"""Most rows of one run, where nobody says how many."""
JOB_ROWS = 1024
"""As `MAX_BATCH`, of a batch job on a table, whose rows cost little."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What every answer of one batcher says of where it comes from; see `Answer`."""

    bundle_sha256: str
    provider: str
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ticket:
    inputs: Arrays
    rows: int
    admitted: float
    deadline: float | None
    future: Future[Answer] = field(default_factory=Future)


class Batcher:
    """Runs what is queued as soon as the runner is free: all of it, in order, up to `max_batch` rows, without a timer.

    A request is never split among batches, save one of more than `max_batch` rows, which runs alone in chunks.

    Args:
        runner: Runs one batch.
        origin: Copied into every answer.
        max_batch: Most rows of one run.
        max_queue_rows: Most rows that may wait; requests beyond are refused at once.
    """

    def __init__(self, runner: Runner, *, origin: Origin, max_batch: int, max_queue_rows: int) -> None:
        if max_batch < 1 or max_queue_rows < 1:
            raise ValueError(
                f"max_batch is {max_batch} and max_queue_rows {max_queue_rows}, but both must be at least 1"
            )
        self.max_batch = max_batch
        self.max_queue_rows = max_queue_rows
        self.batch_sizes: Counter[int] = Counter()  # rows of a run -> runs; written by the worker alone
        self._runner = runner
        self._origin = origin
        self._queue: deque[_Ticket] = deque()
        self._queued_rows = 0
        self._closing = False
        self._row_s = 0.0
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._worker.start()

    @property
    def queued_rows(self) -> int:
        """Rows that wait for the runner."""
        return self._queued_rows

    def submit(self, inputs: Arrays, *, rows: int, deadline_s: float | None = None) -> Future[Answer]:
        """Queue a request that has been validated.

        Args:
            inputs: Arrays by name, each ``(rows, …)``; not to be changed until the future is done.
            rows: Their first dimension.
            deadline_s: Seconds from now after which the request is not worth running any more.

        Raises:
            QueueFullError: the rows do not fit the queue.
            NotReadyError: the batcher is closed.
        """
        now = time.monotonic()
        ticket = _Ticket(
            inputs=inputs, rows=rows, admitted=now, deadline=None if deadline_s is None else now + deadline_s
        )
        with self._changed:
            if self._closing:
                raise NotReadyError("the server is shutting down and takes no new requests; ask again in a while")
            if self._queued_rows + rows > self.max_queue_rows:
                raise QueueFullError(
                    f"the queue holds {self._queued_rows} rows and this request has {rows}, but at most "
                    f"{self.max_queue_rows} may wait; send it again later",
                    retry_after_s=max(1, math.ceil(self._queued_rows * self._row_s)),
                )
            self._queue.append(ticket)
            self._queued_rows += rows
            self._changed.notify()
        return ticket.future

    def close(self, *, drain: bool = True) -> None:
        """Take no more requests, answer those accepted (or refuse them, without `drain`), and wait for the last run."""
        with self._changed:
            self._closing = True
            refused = [] if drain else list(self._queue)
            if not drain:
                self._queue.clear()
                self._queued_rows = 0
            self._changed.notify_all()
        for ticket in refused:
            if ticket.future.set_running_or_notify_cancel():
                ticket.future.set_exception(
                    NotReadyError("the server shut down before this request ran; send it again")
                )
        self._worker.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                taken = self._take()
            batch = [ticket for ticket in taken if _wanted(ticket)]
            if batch:
                self._answer(batch)

    def _take(self) -> list[_Ticket]:
        taken = [self._queue.popleft()]
        rows = taken[0].rows
        while self._queue and rows + self._queue[0].rows <= self.max_batch:
            taken.append(self._queue.popleft())
            rows += taken[-1].rows
        self._queued_rows -= rows
        return taken

    def _answer(self, batch: Sequence[_Ticket]) -> None:
        started = time.monotonic()
        rows = sum(ticket.rows for ticket in batch)
        try:
            outputs = self._run(_join([ticket.inputs for ticket in batch]), rows)
        except Exception as error:  # noqa: BLE001 - whatever the runner raises belongs to the request, not to this thread
            if len(batch) == 1:
                batch[0].future.set_exception(_fault(error))
                return
            for ticket in batch:  # one of them may be at fault: each gets its own run, so that it fails alone
                self._answer([ticket])
            return
        run_s = time.monotonic() - started
        self._row_s = run_s / rows if self._row_s == 0 else 0.8 * self._row_s + 0.2 * run_s / rows
        begin = 0
        for ticket in batch:
            mine = slice(begin, begin + ticket.rows)
            begin += ticket.rows
            ticket.future.set_result(
                Answer(
                    outputs=outputs if len(batch) == 1 else {name: values[mine] for name, values in outputs.items()},
                    bundle_sha256=self._origin.bundle_sha256,
                    provider=self._origin.provider,
                    precision=self._origin.precision,
                    batch_size=min(rows, self.max_batch),
                    queue_ms=(started - ticket.admitted) * 1e3,
                    run_ms=run_s * 1e3,
                )
            )

    def _run(self, inputs: Arrays, rows: int) -> dict[str, NDArray[Any]]:
        if rows <= self.max_batch:
            return self._run_once(inputs, rows)
        chunks = [
            self._run_once({name: values[begin : begin + self.max_batch] for name, values in inputs.items()}, size)
            for begin in range(0, rows, self.max_batch)
            for size in [min(self.max_batch, rows - begin)]
        ]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def _run_once(self, inputs: Arrays, rows: int) -> dict[str, NDArray[Any]]:
        outputs = self._runner.run(inputs)
        for name, values in outputs.items():
            if values.ndim == 0 or values.shape[0] != rows:
                raise ModelFaultError(f"output {name} has shape {list(values.shape)}, but {rows} rows were put in")
        self.batch_sizes[rows] += 1
        return outputs


def _wanted(ticket: _Ticket) -> bool:
    if not ticket.future.set_running_or_notify_cancel():
        return False
    waited = time.monotonic() - ticket.admitted
    if ticket.deadline is not None and not ticket.admitted + waited <= ticket.deadline:
        allowed = ticket.deadline - ticket.admitted
        ticket.future.set_exception(
            DeadlineError(f"the request waited {waited:.3f} s, but its deadline was {allowed:.3f} s; it was not run")
        )
        return False
    return True


def _join(inputs: Sequence[Arrays]) -> Arrays:
    if len(inputs) == 1:
        return inputs[0]
    return {name: np.concatenate([arrays[name] for arrays in inputs]) for name in inputs[0]}


def _fault(error: Exception) -> ModelFaultError:
    if isinstance(error, ModelFaultError):
        return error
    fault = ModelFaultError(f"the graph failed on this request: {error}")
    fault.__cause__ = error
    return fault
