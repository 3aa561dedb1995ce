"""How many rows a graph is judged on: fewer where a row costs much, by a count that is the same on every machine."""

from dataclasses import dataclass, replace

from serve.batcher import JOB_ROWS

ROWS = 64
SAMPLES = 2048
QUICK_SAMPLES = 256
QUICK_DECISIONS = 2048

_NAME = "held-out samples"
NOISE_NAME = "noise in place of samples"
# floating-point operations of one set of rows, and of all held-out samples
_SET_FLOPS = 32e9
_SAMPLES_FLOPS = 200e9
# where there are fewer outputs than 10, more rows must make up for them: on a few values, eager's luck is the yardstick
_LEAST_ROWS = 16
_LEAST_ROWS_OF_FEW_OUTPUTS = 32
_FEW_OUTPUTS = 10
_LEAST_AGAIN = 4
# a row may cost that much where ONNX's reference implementation runs 64 of them, at 3 GFLOP/s
_SECOND_OPINION_FLOPS = 200e6
# a row may cost that much where all 2,080 rows of 64 batches are run
_EVERY_SIZE_FLOPS = 50e6
# a row may cost that much where a batch as large as a job's is run
_JOB_FLOPS = 4e6
# of one search for the worst inputs, counted as its rows in one precision; and the rows of one step of it
_SEARCH_FLOPS = 8e9
_SEARCH_ROWS = 32
_WALK = 10
_LEAST_CLIMB = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is run.

    Attributes:
        samples: Held-out samples at most.
        decisions: Real samples, at most, that decisions of a graph of reduced precision are compared on.
        rows: Rows of every set at least: small ones are filled up.
        again: Of those, how many are run again at each batch size and among hostile neighbours.
        batch_sizes: Rows of one run.
        every_size: Whether one batch of each size that a server forms is run, too: forward may branch on it.
        boundary: Whether rows on the decision boundary are sought.
        unoptimized: Whether ONNX graphs are also run as they were written.
        one_thread: Whether graphs are also run with one thread; on few sets where not every size is run.
        climb: Steps of the search for the worst inputs, after a walk along gradients; 0 where nothing is sought.
        second_opinion: Whether ONNX's reference implementation, which is slow, is asked about a graph that is far off.
        subject: What the samples are called.
    """

    samples: int = SAMPLES
    decisions: int | None = None
    rows: int = ROWS
    again: int = ROWS
    batch_sizes: tuple[int, ...] = (1, 2, 7, 32, 64, JOB_ROWS)
    every_size: bool = True
    boundary: bool = True
    unoptimized: bool = True
    one_thread: bool = True
    climb: int = 16
    second_opinion: bool = True
    subject: str = _NAME


FULL = Plan()
QUICK = Plan(
    samples=QUICK_SAMPLES,
    decisions=QUICK_DECISIONS,
    batch_sizes=(1, 2, 7, 32),
    boundary=False,
    unoptimized=False,
    one_thread=False,
    climb=0,
)


def plan_of(
    *, quick: bool, samples: int | None = None, flops_per_row: int = 0, width: int = 1, real: bool = True
) -> Plan:
    """Plan how much is run.

    Args:
        quick: Fewer samples and input sets.
        samples: Held-out samples at most, where the caller says so.
        flops_per_row: Floating-point operations of one row, 0 where they are not known.
        width: Values that each row holds of the output that has fewest.
        real: Whether the samples are real, and not noise.
    """
    plan = QUICK if quick else FULL
    plan = replace(plan, subject=_NAME if real else NOISE_NAME)
    least = _LEAST_ROWS if width >= _FEW_OUTPUTS else _LEAST_ROWS_OF_FEW_OUTPUTS
    rows = _affordable(_SET_FLOPS, flops_per_row, least=least, most=plan.rows)
    again = max(_LEAST_AGAIN, rows * rows // ROWS)
    most = _affordable(_SAMPLES_FLOPS, flops_per_row, least=rows, most=plan.samples)
    if samples is not None:
        most = min(samples, plan.samples) if quick else samples
    largest = JOB_ROWS if flops_per_row <= _JOB_FLOPS else ROWS if rows == ROWS else ROWS - 1
    sizes = tuple(size for size in plan.batch_sizes if size <= largest)
    every_size = flops_per_row <= _EVERY_SIZE_FLOPS
    climb = _affordable(_SEARCH_FLOPS / _SEARCH_ROWS, flops_per_row, least=0, most=_WALK + plan.climb) - _WALK
    return replace(
        plan,
        samples=most,
        rows=rows,
        again=again,
        batch_sizes=sizes,
        every_size=every_size,
        climb=climb if climb >= _LEAST_CLIMB else 0,
        second_opinion=flops_per_row <= _SECOND_OPINION_FLOPS,
    )


def _affordable(budget: float, flops_per_row: int, *, least: int, most: int) -> int:
    if flops_per_row <= 0:
        return most
    return max(least, min(most, int(budget // flops_per_row)))
