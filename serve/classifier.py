"""A verified bundle, ready to answer: what HTTP, gRPC, the page and batch prediction all call."""

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serve.answer import Answer, NotReadyError, RequestError
from serve.batcher import MAX_BATCH, Batcher, Origin
from serve.bundle import Bundle, BundleError, Manifest, Precision, read_bundle
from serve.devices import Choice, Provider, choose_provider
from serve.golden import Golden, check_fits, read_golden
from serve.large_images import SMALL_PIXELS, prepare_in_turn
from serve.onnx_runner import open_runner
from serve.preprocess import MAX_PIXELS
from serve.readiness import examine, known_slack
from serve.runner import LimitableRunner
from serve.signature import check_inputs, describe_inputs
from serve.signing import require_signature

logger = logging.getLogger(__name__)


class Classifier:
    """One model: validates requests, queues them, and answers with the provenance of what ran.

    Args:
        bundle: The verified bundle.
        golden: Its golden arrays.
        runner: Runs its graph.
        provider: ONNX Runtime's exact name of where.
        provider_reason: Why there.
        precision: Precision of the graph.
        max_batch: Most rows of one run.
        max_queue_rows: Most rows that may wait, and most rows of one request.
        slack: As for `check_golden`.

    Attributes:
        checks: The golden check, an entry per output and batch size.
        reason: Why it does not serve, or None where it does.
    """

    def __init__(
        self,
        *,
        bundle: Bundle,
        golden: Golden,
        runner: LimitableRunner,
        provider: Provider,
        provider_reason: str,
        precision: Precision,
        max_batch: int = MAX_BATCH,
        max_queue_rows: int = 1024,
        slack: Mapping[str, float] | None = None,
    ) -> None:
        self.bundle = bundle
        self.provider = provider
        self.provider_reason = provider_reason
        self.precision: Precision = precision
        self.max_queue_rows = max_queue_rows
        self._golden = golden
        found = examine(
            runner,
            golden,
            bundle=bundle,
            provider=provider,
            precision=precision,
            max_batch=max_batch,
            slack=slack,
        )
        self.checks = found.checks
        self.reason = found.reason
        self.batcher = Batcher(
            runner,
            origin=Origin(bundle_sha256=bundle.manifest.sha256, provider=provider, precision=precision),
            max_batch=max_batch,
            max_queue_rows=max_queue_rows,
        )

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        provider: Choice = "auto",
        precision: Precision = "float32",
        threads: int | None = None,
        max_batch: int | None = None,
        usual_batch: int = MAX_BATCH,
        max_queue_rows: int = 1024,
        public_key: Path | None = None,
    ) -> Self:
        """Verify a bundle, build its session from the verified bytes, and check the golden inputs on this machine.

        A golden check that fails is no error: the classifier stays not ready, and says why. Where a public key is
        given, nothing is run of a bundle that its owner did not sign. Where `max_batch` does not say how many rows may
        run together, `usual_batch` do, but no more than the certificate has proven.

        Raises:
            BundleError: the bundle is missing, incomplete, altered, not signed, or its graph cannot be run.
            ProviderError, SigningError: the provider that was asked for, or the key, is not usable here.
        """
        name, why = choose_provider(provider)
        logger.info("%s: %s, because %s", path, name, why)
        bundle = read_bundle(path)
        if public_key is not None:
            require_signature(bundle, public_key)
        graph, golden_file = bundle.entry("onnx", precision), bundle.entry("golden")
        if graph is None or golden_file is None:
            raise BundleError(_missing(bundle, precision if graph is None else None))
        golden = read_golden(bundle.read(golden_file))
        check_fits(golden, bundle.manifest)
        runner, fault = open_runner(
            bundle.read(graph),
            name=str(path / graph.path),
            inputs=bundle.manifest.inputs,
            outputs=bundle.manifest.outputs,
            provider=name,
            fall_back=provider == "auto",
            threads=threads,
            weights=bundle.read_weights(graph),
        )
        if precision == "float16" and runner.provider == "CPUExecutionProvider":
            fault = f"{fault or why}; there float16 is computed in float32 between casts"
        if max_batch is None:
            max_batch = min(usual_batch, bundle.most_certified(graph, runner.provider) or usual_batch)
        return cls(
            bundle=bundle,
            golden=golden,
            runner=runner,
            provider=runner.provider,
            provider_reason=fault or why,
            precision=precision,
            max_batch=max_batch if bundle.manifest.row_independent else 1,
            max_queue_rows=max_queue_rows,
            slack=known_slack(bundle, graph.path, runner.provider),
        )

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def name(self) -> str:
        """The model's name, as requests give it."""
        return self.bundle.manifest.name

    @property
    def ready(self) -> bool:
        """Whether requests are answered; where not, `reason` says why."""
        return self.reason is None

    def submit(self, inputs: Mapping[str, NDArray[Any]], *, deadline_s: float | None = None) -> Future[Answer]:
        """Check a request in full and queue it.

        Args:
            inputs: Arrays by input name, with exactly the dtypes and shapes of the manifest, ``(rows, …)``; not to be
                changed until the future is done.
            deadline_s: Seconds from now after which the request is not worth running any more.

        Returns:
            The answer to come: `ModelFaultError` where the graph fails, `DeadlineError` where the deadline passed.

        Raises:
            NotReadyError: the golden check failed, or the classifier is closed.
            RequestError: the inputs are not what the model takes.
            TooLargeError: there are more rows than the queue ever holds.
            QueueFullError: the queue is full.
        """
        if self.reason is not None:
            raise NotReadyError(self.reason)
        declared = {name: (str(values.dtype), values.shape) for name, values in inputs.items()}
        rows = check_inputs(declared, self.manifest, max_rows=self.max_queue_rows)
        if deadline_s is not None and not deadline_s > 0:
            raise RequestError(f"deadline is {deadline_s} s, but must be above 0; give none, or a later one")
        return self.batcher.submit(inputs, rows=rows, deadline_s=deadline_s)

    def prepare(
        self, data: bytes, *, max_pixels: int = MAX_PIXELS, small_pixels: int = SMALL_PIXELS
    ) -> NDArray[np.uint8]:
        """Turn an image file into the model's input, ``(1, height, width, channels)``.

        Small images are decoded at once, as many as there are threads that call this; large ones one at a time in the
        whole process.

        Args:
            data: The file's bytes.
            max_pixels: Largest width x height that is decoded.
            small_pixels: Largest width x height of a small image.

        Raises:
            RequestError: the model does not take images.
            ImageError: the bytes are no image that can be read.
            ImageTooLargeError: it has more pixels than the cap.
        """
        if self.manifest.preprocessing is None:
            raise RequestError(
                f"model {self.name} takes no images, but {describe_inputs(self.manifest)}; "
                f"send tensors to /v2/models/{self.name}/infer"
            )
        spec = self.manifest.preprocessing
        return prepare_in_turn(data, spec, max_pixels=max_pixels, small_pixels=small_pixels)[None]

    def golden(self) -> Golden:
        """Return the golden inputs with their references."""
        return self._golden

    def close(self, *, drain: bool = True) -> None:
        """Take no more requests, and answer those accepted; without `drain`, refuse those that wait."""
        if self.reason is None:
            self.reason = f"model {self.name} is shutting down and takes no new requests; ask again in a while"
        self.batcher.close(drain=drain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _missing(bundle: Bundle, precision: Precision | None) -> str:
    if precision is None:
        return f"{bundle.path} has no golden inputs, and cannot be served without; export the bundle again"
    found = [entry.precision or "float32" for entry in bundle.manifest.files if entry.format == "onnx"]
    if not found or precision == "float32":
        return f"{bundle.path} has no {precision} ONNX graph, and cannot be served without; export the bundle again"
    return (
        f"{bundle.path} has no {precision} ONNX graph, but {' and '.join(found)}; give --precision {found[0]}, or "
        "export the bundle again"
    )
