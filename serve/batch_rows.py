"""From files to predictions, in order: decoded by a few threads, run in batches, never more than a few in memory."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve.answer import Answer, ModelFaultError
from serve.classifier import Classifier
from serve.preprocess import ImageError
from serve.verdict import Verdict, read_verdicts

MAX_FILE_BYTES = 256 << 20
BATCHES_IN_FLIGHT = 3
_SMALL_PIXELS = 16_000_000  # a phone's photo, some 12 million, is decoded beside others

Decoded = NDArray[np.uint8] | str  # the prepared image, or why there is none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """What became of one file.

    Attributes:
        verdict: Its label and probabilities, or None where there is none.
        error: Why not, or None.
    """

    verdict: Verdict | None
    error: str | None


def predict_files(classifier: Classifier, files: Sequence[Path], *, batch_size: int, workers: int) -> Iterator[Row]:
    """Predict files one by one, in their order.

    Args:
        classifier: Ready to answer; its queue holds at least four batches.
        files: Image files.
        batch_size: Rows of a batch.
        workers: Threads that read and decode.

    Yields:
        One row per file. A file that cannot be read, and one on which the graph fails, is a row with an error.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            running: deque[tuple[list[Decoded], Future[Answer] | None]] = deque()
            for decoded in _batches(_decode(pool, classifier, files, ahead=batch_size + workers), batch_size):
                running.append((decoded, _submit(classifier, decoded)))
                if len(running) == BATCHES_IN_FLIGHT:
                    yield from _finish(classifier, *running.popleft())
            while running:
                yield from _finish(classifier, *running.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_image(classifier: Classifier, path: Path) -> Decoded:
    """Return a file's prepared image, ``(1, height, width, channels)``, or the sentence that says why not."""
    try:
        if not path.is_file():
            found = "is no regular file" if path.exists() else "does not exist"
            return f"file {found}, but an image file was expected"
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            return f"file has {size:,} bytes, but at most {MAX_FILE_BYTES:,} are read"
        return classifier.prepare(path.read_bytes(), small_pixels=_SMALL_PIXELS)
    except ImageError as error:
        return str(error)
    except (OSError, ValueError) as error:  # ValueError: a null byte in a path
        return f"file cannot be read ({getattr(error, 'strerror', None) or error})"


def _decode(
    pool: ThreadPoolExecutor, classifier: Classifier, files: Iterable[Path], *, ahead: int
) -> Iterator[Decoded]:
    """Decode with at most `ahead` images waiting."""
    remaining = iter(files)
    waiting = deque(pool.submit(read_image, classifier, path) for path in islice(remaining, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(read_image, classifier, path) for path in islice(remaining, 1))


def _batches(decoded: Iterator[Decoded], batch_size: int) -> Iterator[list[Decoded]]:
    while batch := list(islice(decoded, batch_size)):
        yield batch


def _images(decoded: Iterable[Decoded]) -> list[NDArray[np.uint8]]:
    return [item for item in decoded if not isinstance(item, str)]


def _submit(classifier: Classifier, decoded: list[Decoded]) -> Future[Answer] | None:
    images = _images(decoded)
    return classifier.submit({classifier.manifest.inputs[0].name: np.concatenate(images)}) if images else None


def _finish(classifier: Classifier, decoded: list[Decoded], future: Future[Answer] | None) -> Iterator[Row]:
    verdicts: Iterator[Verdict | str] = iter(())
    if future is not None:
        try:
            verdicts = iter(read_verdicts(classifier.manifest, future.result().outputs))
        except ModelFaultError:
            verdicts = (_alone(classifier, image) for image in _images(decoded))
    for item in decoded:
        verdict = item if isinstance(item, str) else next(verdicts)
        yield Row(verdict=None, error=verdict) if isinstance(verdict, str) else Row(verdict=verdict, error=None)


def _alone(classifier: Classifier, image: NDArray[np.uint8]) -> Verdict | str:
    """Run one image of a batch that failed, so that the others do not fail with it."""
    try:
        answer = classifier.submit({classifier.manifest.inputs[0].name: image}).result()
    except ModelFaultError as error:
        return str(error)
    return read_verdicts(classifier.manifest, answer.outputs)[0]
