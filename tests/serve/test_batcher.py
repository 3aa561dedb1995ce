"""The micro-batcher: what runs together, what fails alone, what is refused."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.answer import Answer, DeadlineError, ModelFaultError, NotReadyError, QueueFullError
from serve.batcher import Batcher, Origin

ORIGIN = Origin(bundle_sha256="ab", provider="CPUExecutionProvider", precision="float32")
WAIT_S = 20


class GatedRunner:
    """Doubles its input; holds its first run until it is let go, and fails where a row is negative."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.batches: list[list[float]] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        self.batches.append(inputs["x"][:, 0].tolist())
        if (inputs["x"] < 0).any():
            raise RuntimeError("negative rows cannot be doubled")
        return {"y": inputs["x"] * 2}


@pytest.fixture
def runner() -> GatedRunner:
    return GatedRunner()


@pytest.fixture
def batcher(runner: GatedRunner) -> Iterator[Batcher]:
    batcher = Batcher(runner, origin=ORIGIN, max_batch=4, max_queue_rows=8)
    yield batcher
    runner.gate.set()
    batcher.close()


def ask(batcher: Batcher, *rows: float, deadline_s: float | None = None) -> "Future[Answer]":
    return batcher.submit({"x": np.array(rows)[:, None]}, rows=len(rows), deadline_s=deadline_s)


def occupy(batcher: Batcher, runner: GatedRunner) -> "Future[Answer]":
    """Keep the runner busy, so that what follows is queued."""
    first = ask(batcher, 0)
    assert runner.entered.wait(WAIT_S)
    return first


def values(future: "Future[Answer]") -> list[float]:
    return list(future.result(WAIT_S).outputs["y"][:, 0])


def test_a_free_runner_takes_all_that_is_queued_in_order(batcher: Batcher, runner: GatedRunner) -> None:
    first = occupy(batcher, runner)
    waiting = [ask(batcher, 1), ask(batcher, 2, 3), ask(batcher, 4), ask(batcher, 5, 6), ask(batcher, 7)]
    assert batcher.queued_rows == 7
    runner.gate.set()
    assert values(first) == [0]
    assert [values(future) for future in waiting] == [[2], [4, 6], [8], [10, 12], [14]]
    assert runner.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]
    assert [future.result().batch_size for future in waiting] == [4, 4, 4, 3, 3]
    assert batcher.batch_sizes == {1: 1, 4: 1, 3: 1}
    assert batcher.queued_rows == 0


def test_a_request_is_not_split_among_batches(batcher: Batcher, runner: GatedRunner) -> None:
    occupy(batcher, runner)
    waiting = [ask(batcher, 1, 2, 3), ask(batcher, 4, 5)]
    runner.gate.set()
    assert [values(future) for future in waiting] == [[2, 4, 6], [8, 10]]
    assert runner.batches == [[0], [1, 2, 3], [4, 5]]


def test_more_rows_than_a_batch_run_in_chunks(batcher: Batcher, runner: GatedRunner) -> None:
    runner.gate.set()
    answer = ask(batcher, *range(7)).result(WAIT_S)
    assert answer.outputs["y"][:, 0].tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert runner.batches == [[0, 1, 2, 3], [4, 5, 6]]
    assert answer.batch_size == 4


def test_an_answer_says_where_it_comes_from(batcher: Batcher, runner: GatedRunner) -> None:
    runner.gate.set()
    answer = ask(batcher, 1).result(WAIT_S)
    assert (answer.bundle_sha256, answer.provider, answer.precision) == ("ab", "CPUExecutionProvider", "float32")
    assert answer.queue_ms >= 0
    assert answer.run_ms >= 0


def test_a_poisoned_request_fails_alone(batcher: Batcher, runner: GatedRunner) -> None:
    occupy(batcher, runner)
    good, bad, other = ask(batcher, 1), ask(batcher, -1), ask(batcher, 2)
    runner.gate.set()
    assert values(good) == [2]
    assert values(other) == [4]
    with pytest.raises(ModelFaultError, match="the graph failed on this request: negative rows cannot be doubled"):
        bad.result(WAIT_S)
    assert runner.batches == [[0], [1, -1, 2], [1], [-1], [2]]
    assert values(ask(batcher, 3)) == [6]


def test_a_runner_that_loses_rows_is_a_fault() -> None:
    class Lossy:
        def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            return {"y": inputs["x"][:1]}

    batcher = Batcher(Lossy(), origin=ORIGIN, max_batch=4, max_queue_rows=8)
    with pytest.raises(ModelFaultError, match=r"output y has shape \[1, 1\], but 2 rows were put in"):
        ask(batcher, 1, 2).result(WAIT_S)
    batcher.close()


def test_the_queue_cap_from_both_sides(batcher: Batcher, runner: GatedRunner) -> None:
    occupy(batcher, runner)
    ask(batcher, *range(7))
    last = ask(batcher, 7)
    with pytest.raises(
        QueueFullError, match="the queue holds 8 rows and this request has 1, but at most 8 may"
    ) as caught:
        ask(batcher, 8)
    assert caught.value.retry_after_s >= 1
    runner.gate.set()
    assert values(last) == [14]
    assert values(ask(batcher, 8)) == [16]


def test_a_request_whose_deadline_passed_is_not_run(batcher: Batcher, runner: GatedRunner) -> None:
    occupy(batcher, runner)
    late, patient = ask(batcher, 1, deadline_s=1e-9), ask(batcher, 2, deadline_s=1000)
    runner.gate.set()
    with pytest.raises(DeadlineError, match=r"the request waited .* s, but its deadline was 0\.000 s; it was not run"):
        late.result(WAIT_S)
    assert values(patient) == [4]
    assert runner.batches == [[0], [2]]


def test_a_cancelled_request_is_not_run(batcher: Batcher, runner: GatedRunner) -> None:
    occupy(batcher, runner)
    gone, stays = ask(batcher, 1), ask(batcher, 2)
    assert gone.cancel()
    runner.gate.set()
    assert values(stays) == [4]
    assert runner.batches == [[0], [2]]
    with pytest.raises(CancelledError):
        gone.result(WAIT_S)


def test_closing_answers_what_was_accepted(batcher: Batcher, runner: GatedRunner) -> None:
    first, second = occupy(batcher, runner), ask(batcher, 1)
    closer = threading.Thread(target=batcher.close)
    closer.start()
    runner.gate.set()
    closer.join(WAIT_S)
    assert not closer.is_alive()
    assert (values(first), values(second)) == ([0], [2])
    with pytest.raises(NotReadyError, match="the server is shutting down and takes no new requests"):
        ask(batcher, 2)


def test_closing_without_draining_refuses_what_waits(batcher: Batcher, runner: GatedRunner) -> None:
    first, second = occupy(batcher, runner), ask(batcher, 1)
    closer = threading.Thread(target=lambda: batcher.close(drain=False))
    closer.start()
    with pytest.raises(NotReadyError, match="the server shut down before this request ran; send it again"):
        second.result(WAIT_S)
    runner.gate.set()
    closer.join(WAIT_S)
    assert values(first) == [0]


@pytest.mark.parametrize(("max_batch", "max_queue_rows"), [(0, 1), (1, 0)])
def test_bounds_of_at_least_one(runner: GatedRunner, max_batch: int, max_queue_rows: int) -> None:
    with pytest.raises(ValueError, match=r"max_batch is . and max_queue_rows ., but both must be at least 1"):
        Batcher(runner, origin=ORIGIN, max_batch=max_batch, max_queue_rows=max_queue_rows)
