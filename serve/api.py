"""What the server answers on each path of its API: health, models, tensors, predictions of images and tables."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from serve import metadata
from serve.answer import Answer, NotReadyError, RequestError
from serve.body import BodyReader, Workers
from serve.classifier import Classifier
from serve.devices import usable_cpus
from serve.form import file_in
from serve.large_images import SMALL_PIXELS
from serve.oip import decode_request
from serve.oip_response import encode_response
from serve.preprocess import ImageTooLargeError
from serve.reply import HEADERS, json_reply
from serve.table_body import decode_table
from serve.verdict import read_verdicts, require_verdicts

HEADER_LENGTH = "Inference-Header-Content-Length"


class Api:
    """The endpoints; `create_app` in `serve.http` says what the arguments are."""

    def __init__(
        self,
        classifiers: Mapping[str, Classifier],
        *,
        max_body_bytes: int,
        max_total_body_bytes: int,
        receive_s: float,
        max_pixels: int,
        draining: Callable[[], bool],
    ) -> None:
        self.classifiers = classifiers
        self.max_pixels = max_pixels
        self.draining = draining
        self.workers = Workers(threads=min(4, usable_cpus()), max_waiting=256)
        self.large_images = Workers(threads=1, max_waiting=32)
        self.bodies = BodyReader(
            max_bytes=max_body_bytes,
            max_total_bytes=max_total_body_bytes,
            workers=self.workers,
            receive_s=receive_s,
        )

    def close(self) -> None:
        """End the threads that it started; those at work finish first."""
        self.workers.close()
        self.large_images.close()

    async def server(self, _: Request) -> Response:
        """Describe the server: ``GET /v2``."""
        return json_reply(metadata.server_metadata())

    async def live(self, _: Request) -> Response:
        """Say that the process answers: ``GET /v2/health/live``."""
        return json_reply({"live": True})

    async def ready(self, _: Request) -> Response:
        """Say whether all models are ready: ``GET /v2/health/ready``."""
        self._refuse_draining()
        for classifier in self.classifiers.values():
            _refuse_unready(classifier)
        return json_reply({"ready": True})

    async def index(self, _: Request) -> Response:
        """List the models with their states: ``POST /v2/repository/index``."""
        return json_reply(metadata.repository_index(self.classifiers.values()))

    async def model(self, request: Request) -> Response:
        """Describe a model: ``GET /v2/models/NAME``."""
        return json_reply(metadata.model_metadata(self._find(request)))

    async def model_ready(self, request: Request) -> Response:
        """Say whether one model is ready: ``GET /v2/models/NAME/ready``."""
        classifier = self._find(request)
        self._refuse_draining()
        _refuse_unready(classifier)
        return json_reply({"name": classifier.name, "ready": True})

    async def config(self, request: Request) -> Response:
        """Describe a model as Triton does: ``GET /v2/models/NAME/config``."""
        return json_reply(metadata.model_config(self._find(request)))

    async def infer(self, request: Request) -> Response:
        """Answer tensors with tensors: ``POST /v2/models/NAME/infer``."""
        async with self.bodies.read(request) as body:
            classifier = self._find(request)
            _refuse_unready(classifier)
            wanted = await self.workers.run_sized(
                len(body),
                decode_request,
                body,
                header_length=_header_length(request),
                manifest=classifier.manifest,
                max_rows=classifier.max_queue_rows,
            )
            answer = await asyncio.wrap_future(classifier.submit(wanted.inputs, deadline_s=wanted.deadline_s))
            content, json_length = await self.workers.run_sized(
                sum(values.nbytes for values in answer.outputs.values()),
                encode_response,
                wanted,
                answer.outputs,
                manifest=classifier.manifest,
                parameters=metadata.provenance(answer),
            )
        if json_length is None:
            return Response(content, media_type="application/json", headers=HEADERS)
        headers = {**HEADERS, HEADER_LENGTH: str(json_length)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def predict(self, request: Request) -> Response:
        """Answer an image or a table with what the model says of it: ``POST /predict/NAME``."""
        async with self.bodies.read(request) as body:
            classifier = self._find(request)
            _refuse_unready(classifier)
            require_verdicts(classifier.manifest)
            content, single = await file_in(request, body), True
            values: NDArray[Any]
            if classifier.manifest.features:
                values, single = await self.workers.run_sized(
                    len(content),
                    decode_table,
                    content,
                    request.headers.get("content-type", ""),
                    classifier.manifest.features,
                    max_rows=classifier.max_queue_rows,
                )
            else:
                values = await self._prepare(classifier, content)
        answer = await asyncio.wrap_future(classifier.submit({classifier.manifest.inputs[0].name: values}))
        parameters = metadata.provenance(answer)
        return json_reply(
            {"model": classifier.name} | _prediction(classifier, answer, single=single) | {"provenance": parameters},
            metadata.provenance_headers(parameters),
        )

    async def _prepare(self, classifier: Classifier, data: bytes) -> NDArray[np.uint8]:
        # large images wait for each other in a thread of their own, or they would hold those that small ones need
        small = min(SMALL_PIXELS, self.max_pixels)
        try:
            return await self.workers.run(classifier.prepare, data, max_pixels=small)
        except ImageTooLargeError:
            return await self.large_images.run(classifier.prepare, data, max_pixels=self.max_pixels)

    def _refuse_draining(self) -> None:
        if self.draining():
            raise NotReadyError("the server is shutting down and takes no new requests; ask again in a while")

    def _find(self, request: Request) -> Classifier:
        name, version = request.path_params["name"], request.path_params.get("version", metadata.VERSION)
        classifier = self.classifiers.get(name)
        if classifier is None:
            raise HTTPException(404, f"model {name} is not served here, but {', '.join(self.classifiers)}")
        if version != metadata.VERSION:
            raise HTTPException(404, f"model {name} has no version {version}, but version {metadata.VERSION} only")
        return classifier


def _refuse_unready(classifier: Classifier) -> None:
    if classifier.reason is not None:
        raise NotReadyError(classifier.reason)


def _header_length(request: Request) -> int | None:
    value = request.headers.get(HEADER_LENGTH)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) < 20):
        raise RequestError(f"{HEADER_LENGTH} is {value[:40]!r}, but a whole number of bytes was expected")
    return int(value)


def _prediction(classifier: Classifier, answer: Answer, *, single: bool) -> dict[str, Any]:
    found = [
        {"prediction": verdict.values}
        if verdict.label is None
        else {"label": verdict.label, "probability": verdict.probability, "probabilities": verdict.values}
        for verdict in read_verdicts(classifier.manifest, answer.outputs)
    ]
    return found[0] if single else {"predictions": found}
