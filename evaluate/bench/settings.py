"""What a measurement is to be, checked before anything is run."""

from dataclasses import dataclass

from evaluate.bench.result import BenchError
from serve.devices import Choice, usable_cpus

BATCH_SIZES = (1, 8, 64, 256)
ROUNDS = 15
SECONDS = 1.0
LATENCY_MS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured.

    Attributes:
        provider: What ONNX runs on.
        batch_sizes: Rows of one run.
        rounds: How often each runner has its turn, at most.
        seconds: What one runner at one batch size may take; with costly ones there are fewer rounds, at least 3.
        threads: Threads of one run; None tries which number is best.
        quick: Times alone: without torch.compile, start, memory, trials of threads, and the machine's peak.
        loadgen_s: Seconds, at least, of each of MLPerf's scenarios; None leaves them out.
        target_qps: Queries a second that scenario Server sends; None means half of what the graph does one by one.
        latency_ms: What 99 % of scenario Server's answers may take.
    """

    provider: Choice = "auto"
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    rounds: int = ROUNDS
    seconds: float = SECONDS
    threads: int | None = None
    quick: bool = False
    loadgen_s: float | None = None
    target_qps: float | None = None
    latency_ms: float = LATENCY_MS

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise BenchError(f"--rounds is {self.rounds}, but each runner needs at least 1 turn; give 1 or more")
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            found = " ".join(map(str, self.batch_sizes)) or "empty"
            raise BenchError(f"--batch-sizes is {found}, but numbers of rows from 1 on were expected; give 1 8 64, say")
        if self.threads is not None and not 1 <= self.threads <= usable_cpus():
            raise BenchError(
                f"--threads is {self.threads}, but 1 to {usable_cpus()} were expected, as many as this machine "
                "has CPUs, or auto; leave it out"
            )
        for option, value in (
            ("--seconds", self.seconds),
            ("--loadgen", self.loadgen_s),
            ("--target-qps", self.target_qps),
            ("--latency-ms", self.latency_ms),
        ):
            if value is not None and not 0 < value < float("inf"):
                raise BenchError(f"{option} is {value:g}, but a number above 0 was expected; give one")
        if self.target_qps is not None and self.loadgen_s is None:
            raise BenchError("--target-qps is of --loadgen's scenario Server, but --loadgen is not given; add it")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the batch sizes, ascending, each once."""
        return tuple(sorted({*self.batch_sizes}))
