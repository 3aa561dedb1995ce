"""The parts of the bench: timing, memory, threads, peak, chart and table."""

import io
import mmap
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from evaluate.bench.chart import draw_bench
from evaluate.bench.compiled import compiler_fault, fresh_cache
from evaluate.bench.fitting import fit
from evaluate.bench.own_process import Probed, probe
from evaluate.bench.peak import measure_peak
from evaluate.bench.probe import Job, Rung, climb, ladder
from evaluate.bench.result import Bench, BenchRow, Peak, RunnerCost, Scenario, ThreadTrial
from evaluate.bench.table import print_bench
from evaluate.bench.threads import best_of, counts_to_try, try_threads
from evaluate.bench.timing import Warm, affordable_rounds, ratio_interval, time_in_turn, warm_up
from serve.bundle import read_bundle

MIB = 2**20
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory is taken and free")


class Hungry:
    """Takes some memory for each row, and keeps none."""

    def __init__(self, bytes_per_row: int) -> None:
        self.bytes_per_row = bytes_per_row
        self.ran: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        rows = len(inputs["x"])
        self.ran.append(rows)
        # not from the heap, where memory that others gave back would be taken again, and nothing would grow
        taken = np.frombuffer(mmap.mmap(-1, rows * self.bytes_per_row), np.uint8)
        taken[:] = 1
        return {"y": taken[:rows].copy()}


INPUTS = {"x": np.zeros((3, 2), np.float32)}


def rung(batch_size: int, growth_bytes: int) -> Rung:
    return Rung(batch_size=batch_size, first_s=3.0, second_s=1.0, peak_bytes=1, growth_bytes=growth_bytes)


def test_calls_take_turns() -> None:
    order: list[str] = []
    warm = [Warm(call=lambda name=name: order.append(name), repeats=2, slice_s=1) for name in "ab"]  # type: ignore[misc]
    seconds = time_in_turn(warm, rounds=3)
    assert "".join(order) == "aabb" * 3
    assert seconds.shape == (2, 3)
    assert (seconds >= 0).all()


def test_a_quick_call_is_repeated_until_the_clock_can_tell() -> None:
    warm = warm_up(lambda: None, seconds=1)
    assert warm.repeats > 100


def test_rounds_are_what_the_time_allows_but_at_least_three() -> None:
    def of(slice_s: float) -> int:
        return affordable_rounds([Warm(call=int, repeats=1, slice_s=slice_s)] * 2, rounds=15, seconds=1)

    assert (of(0.01), of(1 / 15), of(0.101), of(9.0)) == (15, 15, 9, 3)
    assert affordable_rounds([Warm(call=int, repeats=1, slice_s=0.01)], rounds=1, seconds=1) == 1


def test_the_interval_of_a_ratio_holds_the_ratio_and_is_the_same_every_time() -> None:
    noise = np.random.default_rng(1)
    reference, candidate = 2 + 0.05 * noise.standard_normal(15), 1 + 0.05 * noise.standard_normal(15)
    interval = ratio_interval(reference, candidate)
    assert interval is not None
    assert interval[0] < 2 < interval[1]
    assert interval[1] - interval[0] < 0.5
    assert interval == ratio_interval(reference, candidate)
    assert ratio_interval(reference[:5], candidate[:5]) is None


def test_what_slows_both_in_a_round_does_not_widen_the_interval() -> None:
    slow = np.array([1.0] * 8 + [9.0] * 7)
    low, high = ratio_interval(2 * slow, slow) or (0, 0)
    assert (low, high) == (2, 2)


def test_batches_grow_in_steps() -> None:
    assert ladder((1, 8, 64)) == (1, 4, 8, 32, 64)
    assert ladder((2, 1)) == (1, 2)
    assert ladder((1,)) == (1,)


@ON_LINUX
def test_a_batch_that_would_not_fit_is_not_run() -> None:
    hungry = Hungry(8 * MIB)
    rungs = list(climb(hungry, INPUTS, (1, 4, 16, 64), free=80 * MIB))
    assert [rung.batch_size for rung in rungs] == [1, 4, 16]
    assert rungs[-1].first_s is None
    assert rungs[-1].growth_bytes > 80 * MIB
    assert max(hungry.ran) == 4
    assert rungs[1].growth_bytes > 24 * MIB


@ON_LINUX
def test_a_batch_that_fits_is_run() -> None:
    hungry = Hungry(8 * MIB)
    rungs = list(climb(hungry, INPUTS, (1, 4, 16), free=2000 * MIB))
    assert all(rung.first_s is not None for rung in rungs)
    assert max(hungry.ran) == 16


@ON_LINUX
def test_what_a_batch_that_takes_too_long_would_need_is_foretold() -> None:
    hungry = Hungry(8 * MIB)
    rungs = list(climb(hungry, INPUTS, (1, 4, 16), free=2000 * MIB, most_s=0))
    assert set(hungry.ran) == {1}
    assert [rung.batch_size for rung in rungs] == [1, 4, 16]
    assert [rung.first_s is None for rung in rungs] == [False, True, True]


def test_all_runners_must_fit_together() -> None:
    probed = [Probed(start_s=None, rungs=(rung(1, 10), rung(8, 50)), fault=None)] * 2
    assert fit((1, 8), probed, free=100).sizes == (1, 8)
    too_much = fit((1, 8), probed, free=99)
    assert too_much.sizes == (1,)
    assert too_much.left_out[0].startswith("batch 8 is left out: 0.00 GiB or more would be needed at 8, but only")
    assert fit((1, 8), probed, free=None).sizes == (1, 8)


def test_compiling_is_how_much_longer_first_calls_take() -> None:
    assert Probed(start_s=1.0, rungs=(rung(1, 0), rung(8, 0)), fault=None).compile_s == 4


def test_a_graph_runs_in_a_process_of_its_own(digits_bundle: Path) -> None:
    found = probe(job(digits_bundle))
    assert found.fault is None
    assert [rung.batch_size for rung in found.rungs] == [1, 4, 8]
    assert found.start_s is not None
    assert found.start_s > 0


def test_a_bundle_that_changed_meanwhile_is_not_run(digits_bundle: Path) -> None:
    found = probe(job(digits_bundle, bundle_sha256="0" * 64))
    assert found.highest is None
    assert found.fault is not None
    assert "changed while it was measured; measure it again" in found.fault


def job(bundle: Path, **changes: Any) -> Job:
    manifest = read_bundle(bundle).manifest
    settings = {"bundle": str(bundle), "bundle_sha256": manifest.sha256, "runner": "graph.onnx", "threads": 1}
    settings |= {
        "provider": "CPUExecutionProvider",
        "batch_sizes": (8,),
        "factory": None,
        "free_bytes": None,
        "most_s": 9.0,
        **changes,
    }
    return Job(**settings)


def test_onnx_starts_without_torch() -> None:
    code = "import sys, evaluate.bench.probe, serve.onnx_runner; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(("usable", "counts"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_thread_counts(usable: int, counts: tuple[int, ...]) -> None:
    assert counts_to_try(usable) == counts


def test_the_thread_count_that_took_least_time_is_best() -> None:
    trials = [
        ThreadTrial(runner="x", threads=n, batch_size=8, median_ms=ms) for n, ms in ((1, 3.0), (2, 2.0), (4, 2.5))
    ]
    assert best_of(trials) == 2
    made: list[int] = []

    def make(threads: int) -> Hungry:
        made.append(threads)
        return Hungry(1)

    found = try_threads("x", make, (1, 2), INPUTS, seconds=0.05)
    assert made == [1, 2]
    assert [(trial.threads, trial.batch_size) for trial in found] == [(1, 3), (2, 3)]


def test_the_peak_of_the_cpu_is_measured() -> None:
    peak = measure_peak("cpu", threads=1, side=64, copy_bytes=MIB)
    assert peak.flops_onnxruntime is not None
    assert peak.flops == max(peak.flops_torch, peak.flops_onnxruntime) > 1e6
    assert peak.bytes_per_s > 1e6


def test_where_no_compiler_is_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch._inductor import config

    monkeypatch.setenv("PATH", str(tmp_path))
    with config.patch({"cpp.cxx": (None, str(tmp_path / "no-compiler"))}):
        assert compiler_fault()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler is here")
def test_a_compiler_is_found() -> None:
    assert compiler_fault() is None


def test_the_cache_of_a_measurement_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for before in (None, "elsewhere"):
        if before is None:
            monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        else:
            monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", before)
        with fresh_cache():
            folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
            assert folder.is_dir()
            assert list(folder.iterdir()) == []
        assert os.environ.get("TORCHINDUCTOR_CACHE_DIR") == before
        assert not folder.exists()


def widest() -> Bench:
    """Return a measurement whose cells are as wide as they get."""
    names = ("eager", "torch.compile", "graph.torchscript.pt", "graph.pt2", "graph.fp16.onnx")
    entrants = [(name, "CPUExecutionProvider" if name.endswith("onnx") else "torch CPU") for name in names]
    entrants.append(("graph.fp16.onnx", "CUDAExecutionProvider"))
    return Bench(
        name="a-network-with-a-rather-long-name",
        bundle_sha256="0" * 64,
        machine="Linux x86_64, 128 CPUs",
        libraries={"torch": "2.15.0+cu132", "onnxruntime": "1.31.1"},
        rounds=15,
        seconds=1,
        torch_threads=128,
        onnxruntime_threads=64,
        flops_per_row=4_089_184_256,
        rows=tuple(
            BenchRow(
                batch_size=size,
                runner=name,
                provider=provider,
                precision="float32",
                size_bytes=100 * MIB,
                rounds=15,
                median_ms=size * 1234.5 / (index + 1),
                quartile_ms=(size * 1134.5 / (index + 1), size * 1334.5 / (index + 1)),
                rows_per_s=1e6 / (index + 1),
                speed_over_eager=12.34 * index,
                speed_interval_95=(10.12 * index, 14.56 * index) if index else None,
                share_of_flops=0.4321,
                share_of_bytes=0.00012,
            )
            for size in (1, 256)
            for index, (name, provider) in enumerate(entrants)
        ),
        runners=tuple(
            RunnerCost(
                runner=name,
                provider=provider,
                size_bytes=1234 * MIB,
                start_s=123.45,
                compile_s=123.4 if name == "torch.compile" else None,
                peak_bytes=12345 * MIB,
                peak_batch_size=256,
            )
            for name, provider in entrants
        ),
        trials=(ThreadTrial(runner="eager", threads=1, batch_size=256, median_ms=12.3),),
        peaks=(Peak(device="cpu", flops_torch=1e11, flops_onnxruntime=9e10, bytes_per_s=1e10),),
        left_out=("batch 512 is left out: it is too large",),
        scenarios=(
            Scenario(
                scenario="SingleStream",
                graph="graph.onnx",
                valid=False,
                figure="90.0th percentile latency (ns)",
                value=1.5e6,
                summary={"99.00 percentile latency (ns)": "2500000"},
                advice=("Min duration satisfied: NO",),
            ),
        ),
    )


def test_the_tables_fit_a_hundred_columns() -> None:
    target = io.StringIO()
    print_bench(widest(), Console(file=target, width=100, highlight=False))
    text = target.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    flat = " ".join(text.split())
    for words in (
        "batch 256, 15 rounds",
        "graph.fp16.onnx CUDA",
        "12.3 (10.1-14.6)",
        "1 thread at batch 256",
        "batch 512 is left out",
        "one row is 4.09 GFLOP",
        "90.0th percentile latency 1.50 ms, 99th percentile 2.50 ms; INVALID",
        "Min duration satisfied: NO",
    ):
        assert words in flat, words


def test_the_chart_is_a_picture() -> None:
    picture = draw_bench(widest())
    assert picture.png.startswith(b"\x89PNG")
    assert picture.png == draw_bench(widest()).png
