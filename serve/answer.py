"""What comes back from a classifier: an answer, or one of these errors."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from serve.bundle import Precision


class RequestError(ValueError):
    """A request that cannot be answered as it stands; HTTP 400."""


class TooLargeError(RequestError):
    """A request with more bytes or rows than the cap; HTTP 413."""


class ReceiveError(RequestError):
    """A request whose body did not come in time; HTTP 408."""


class QueueFullError(RuntimeError):
    """A request refused at once, because those accepted already fill the queue; HTTP 429.

    Attributes:
        retry_after_s: Seconds after which the queue is likely to have room, at least 1.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReadyError(RuntimeError):
    """A model that is not serving: its golden check failed, or it is draining; HTTP 503."""


class DeadlineError(RuntimeError):
    """A request whose deadline passed before it ran; HTTP 504."""


class ModelFaultError(RuntimeError):
    """A graph that failed on a valid request; HTTP 500."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """The outputs of one request, and what made them.

    Attributes:
        outputs: Arrays by output name, this request's rows only, ``(rows, …)``.
        bundle_sha256: Digest of the manifest, which lists the digest of every other file.
        provider: ONNX Runtime's exact name of what ran the graph.
        precision: Precision of the graph.
        batch_size: Rows of the batch this request ran in, its neighbours' included; the largest where it took several.
        queue_ms: From admission to the start of the run.
        run_ms: Duration of the run.
    """

    outputs: dict[str, NDArray[Any]]
    bundle_sha256: str
    provider: str
    precision: Precision
    batch_size: int
    queue_ms: float
    run_ms: float
