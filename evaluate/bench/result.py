"""What `python -m evaluate bench` reports, as records."""

from dataclasses import dataclass

from serve.bundle import Precision

COMPILED = "torch.compile"


class BenchError(ValueError):
    """A measurement that was asked for and makes no sense, or that this machine cannot make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One runner at one batch size.

    Attributes:
        batch_size: Rows of one run.
        runner: File name, ``eager`` or ``torch.compile``.
        provider: What ran it.
        precision: What it computes in.
        size_bytes: Size of its file; of eager, of its weights.
        rounds: How often it had its turn.
        median_ms: Median duration of one run over the rounds.
        quartile_ms: First and third quartile.
        rows_per_s: Rows a second at the median.
        speed_over_eager: Eager's median over this one's.
        speed_interval_95: Bootstrap interval of that, over the rounds; None where there are too few for one.
        share_of_flops: Of the greatest FLOP/s that were measured on this device, in [0, 1].
        share_of_bytes: Of the greatest bytes/s, in [0, 1]: weights and inputs, once a run. It moves more.
    """

    batch_size: int
    runner: str
    provider: str
    precision: Precision
    size_bytes: int
    rounds: int
    median_ms: float
    quartile_ms: tuple[float, float]
    rows_per_s: float
    speed_over_eager: float
    speed_interval_95: tuple[float, float] | None
    share_of_flops: float | None
    share_of_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerCost:
    """What one runner costs before and beside its time, measured in a process of its own.

    Attributes:
        runner: As in `BenchRow`.
        provider: What ran it.
        size_bytes: Size of its file.
        start_s: From the start of Python to the first answer, of one row, without compiling.
        compile_s: How long the first calls compiled, with nothing kept from before; None where nothing is compiled.
        peak_bytes: Greatest resident memory of the whole process, torch and Python included.
        peak_batch_size: Rows of the greatest run until then.
    """

    runner: str
    provider: str
    size_bytes: int
    start_s: float | None
    compile_s: float | None
    peak_bytes: int | None
    peak_batch_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadTrial:
    """How long a run takes with so many threads.

    Attributes:
        runner: ``eager``, or the ONNX file.
        threads: Threads of one run.
        batch_size: Rows of one run.
        median_ms: Median duration.
    """

    runner: str
    threads: int
    batch_size: int
    median_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What a device does at most, as measured beside the runners.

    Attributes:
        device: ``cpu`` or ``cuda``.
        flops_torch: FLOP/s of torch's product of two large float32 matrices.
        flops_onnxruntime: The same by ONNX Runtime; None where it was not measured.
        bytes_per_s: Bytes read and written a second by a copy of a large tensor.
    """

    device: str
    flops_torch: float
    flops_onnxruntime: float | None
    bytes_per_s: float

    @property
    def flops(self) -> float:
        """Return the greater of the two."""
        return max(self.flops_torch, self.flops_onnxruntime or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What MLPerf's load generator found.

    Attributes:
        scenario: ``SingleStream``, ``Offline`` or ``Server``.
        graph: What answered.
        valid: Whether the run keeps the load generator's own rules.
        figure: What the scenario is measured by, in the load generator's words.
        value: Its value, in the unit that the words name.
        summary: All that the load generator's summary says, by name.
        advice: What it says of a run that breaks its rules.
    """

    scenario: str
    graph: str
    valid: bool
    figure: str
    value: float
    summary: dict[str, str]
    advice: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What `python -m evaluate bench` reports.

    Attributes:
        name: Of the bundle.
        bundle_sha256: Its digest.
        machine: System, processor, CPUs that may be used.
        libraries: Versions of what ran it.
        rounds: How many were asked for, at most.
        seconds: What one runner at one batch size may take, about.
        torch_threads: Threads of eager, torch.compile, TorchScript and exported programs.
        onnxruntime_threads: Threads of ONNX on the CPU.
        flops_per_row: Floating-point operations of one row, counted.
        rows: A row for each runner at each batch size.
        runners: What each runner costs.
        trials: What was tried to find the numbers of threads.
        peaks: Of each device that something ran on.
        left_out: What was not measured, and why, a sentence each.
        scenarios: What the load generator found.
        busy_cpus: Processors that others kept busy when it began; None where the system does not tell.
    """

    name: str
    bundle_sha256: str
    machine: str
    libraries: dict[str, str]
    rounds: int
    seconds: float
    torch_threads: int
    onnxruntime_threads: int
    flops_per_row: int
    rows: tuple[BenchRow, ...]
    runners: tuple[RunnerCost, ...]
    trials: tuple[ThreadTrial, ...]
    peaks: tuple[Peak, ...]
    left_out: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    busy_cpus: float | None = None
