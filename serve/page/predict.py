"""One prediction for the page: a file, a drawing or a golden example in, an answer or one sentence out."""

import base64
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from serve.answer import Answer, DeadlineError, ModelFaultError, NotReadyError, QueueFullError, RequestError
from serve.classifier import Classifier
from serve.preprocess import ImageError
from serve.verdict import Verdict, read_verdicts

T = TypeVar("T")

DEADLINE_S = 30.0
_DRAWING_PIXELS = 1_000_000  # the canvas has 160,000
_PNG_URL = "data:image/png;base64,"
_EXPECTED = (
    RequestError,
    ImageError,
    QueueFullError,
    NotReadyError,
    DeadlineError,
    ModelFaultError,
    FutureTimeoutError,
    FileNotFoundError,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """An image as the model saw it, and what it answered.

    Attributes:
        pixels: The prepared image, ``(height, width, channels)``, uint8.
        verdict: The label, and the probability of every label.
        answer: The classifier's answer, with what made it.
    """

    pixels: NDArray[np.uint8]
    verdict: Verdict
    answer: Answer


def see_file(classifier: Classifier, path: Path) -> Seen:
    """Predict an image file; the classifier gets its very bytes."""
    return see_pixels(classifier, classifier.prepare(path.read_bytes()))


def see_drawing(classifier: Classifier, data_url: object) -> Seen:
    """Predict what the drawing canvas sent.

    Raises:
        RequestError: it is None, as an empty canvas sends, or no PNG in a data URL.
    """
    if data_url is None:
        raise RequestError("there is no drawing yet; draw on the black square first")
    if not isinstance(data_url, str) or not data_url.startswith(_PNG_URL):
        raise RequestError("the drawing is no PNG image, but the canvas sends one; reload the page and draw again")
    try:
        data = base64.b64decode(data_url[len(_PNG_URL) :], validate=True)
    except ValueError:  # no base64, or not even ASCII
        raise RequestError("the drawing arrived damaged; reload the page and draw again") from None
    return see_pixels(classifier, classifier.prepare(data, max_pixels=_DRAWING_PIXELS))


def see_pixels(classifier: Classifier, pixels: NDArray[np.uint8]) -> Seen:
    """Predict one prepared image, ``(1, height, width, channels)``, through the admission queue."""
    future = classifier.submit({classifier.manifest.inputs[0].name: pixels}, deadline_s=DEADLINE_S)
    answer = future.result(timeout=2 * DEADLINE_S)
    return Seen(pixels=pixels[0], verdict=read_verdicts(classifier.manifest, answer.outputs)[0], answer=answer)


def seen_or_sentence(predict: Callable[[], T]) -> T | str:
    """Run a prediction; return it, or one sentence for the person at the page."""
    try:
        return predict()
    except _EXPECTED as error:
        return sentence(error)


def sentence(error: BaseException) -> str:
    """Say in one sentence why there is no prediction."""
    if isinstance(error, QueueFullError):
        return f"The server is busy; try again in {error.retry_after_s} s."
    if isinstance(error, FutureTimeoutError):
        return f"The model gave no answer within {2 * DEADLINE_S:.0f} s; try again."
    if isinstance(error, FileNotFoundError):
        return "The uploaded image has been removed from the server meanwhile; upload it again."
    text = str(error).strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
