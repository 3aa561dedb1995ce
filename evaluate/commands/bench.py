"""``python -m evaluate bench``."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from evaluate.commands.options import BundlePath
from evaluate.commands.shared_options import FactoryName, JsonFile, Key, Provider, Trust
from evaluate.commands.targets import check_file, check_png
from evaluate.commands.written import report


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Measure how fast a bundle is in every way to run it, and what each way costs.

    Runners: the eager module, torch.compile where a C++ compiler is there, and every graph of the bundle (TorchScript,
    exported program, ONNX in each precision), ONNX also on CUDA where a device is there. They take turns, warmed up, on
    the bundle's golden inputs, repeated: the median, the middle half, and how many times eager's speed with its 95 %
    interval. Each also runs in a process of its own: how long from the start of Python to the first answer, and how
    much memory at most. A product of large matrices and a copy of much memory, measured in the same run, say what share
    of this machine's peak a runner reaches. What does not fit into memory is left out, with a sentence.

    Other programs that run meanwhile show in the figures: measure on a quiet machine.
    """

    bundle: BundlePath
    """Directory that `python -m export` wrote."""
    provider: Provider = "auto"
    batch_sizes: tuple[int, ...] = (1, 8, 64, 256)
    """Rows of one run, from 1 on. Unless given, those of which one run of eager takes long are left out."""
    rounds: int = 15
    """How often each runner has its turn, at most."""
    seconds: float = 1.0
    """What one runner at one batch size may take, about. Of costly networks there are fewer rounds, at least 3."""
    threads: Annotated[int | Literal["auto"], tyro.conf.arg(metavar="N|auto")] = "auto"
    """Threads of one run, on the CPU. auto tries 1, 2, 4 and so on up to all CPUs, with eager and with ONNX, at the
    largest batch, and uses the best of each; with --quick it means all CPUs."""
    quick: bool = False
    """Times alone: without torch.compile, start, memory, trials of threads and the machine's peak."""
    chart: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    """Also draw rows a second and milliseconds by batch size."""
    json: JsonFile = None
    loadgen: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """Also let MLPerf's load generator (pip install 'facsimile[loadgen]') send its scenarios SingleStream, Offline and
    Server to the float32 ONNX graph, each for so many seconds at least. MLPerf itself asks for 600."""
    target_qps: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """Queries a second of scenario Server. Default: half of what the graph does one by one."""
    latency_ms: Annotated[float, tyro.conf.arg(metavar="MS")] = 15.0
    """What 99 % of scenario Server's answers may take."""
    factory: FactoryName = None
    trust: Trust = False
    require_signature: Key = None


def run_bench(command: Bench) -> int:
    """Measure, print, draw.

    Raises:
        BenchError: what was asked for makes no sense, or cannot be had here.
    """
    from evaluate.bench.settings import Settings

    settings = Settings(
        provider=command.provider,
        batch_sizes=command.batch_sizes,
        rounds=command.rounds,
        seconds=command.seconds,
        threads=None if command.threads == "auto" else command.threads,
        quick=command.quick,
        loadgen_s=command.loadgen,
        target_qps=command.target_qps,
        latency_ms=command.latency_ms,
    )
    _check_targets(command)

    from evaluate.trust import read_trusted

    bundle = read_trusted(command.bundle, trust=command.trust, public_key=command.require_signature)

    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from evaluate.tables import stderr_console

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = stderr_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("loading torch", total=1.0)

        from evaluate.bench.run import Measurement

        def told(doing: str, share: float) -> None:
            progress.update(bar, description=doing, completed=share)

        result = Measurement(bundle, settings, factory=command.factory, on_step=told).run()

    from evaluate.bench.table import print_bench

    report(result, print_bench, command.json)
    if command.chart is not None:
        from evaluate.bench.chart import draw_bench
        from train.whole_file import write_whole

        write_whole(command.chart, draw_bench(result).png)
    return 0


def _check_targets(command: Bench) -> None:
    """Refuse before the minutes that a measurement takes what would fail after them."""
    from evaluate.bench.result import BenchError

    check_png("--chart", command.chart)
    check_file("--json", command.json)
    if command.loadgen is not None and importlib.util.find_spec("mlperf_loadgen") is None:
        raise BenchError(
            "--loadgen needs MLPerf's load generator, which is not installed; pip install 'facsimile[loadgen]'"
        )
