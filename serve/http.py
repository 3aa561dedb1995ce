"""The HTTP server: Open Inference Protocol v2, predictions of images and tables, health; the page, if any."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serve import metadata
from serve.answer import (
    Answer,
    DeadlineError,
    ModelFaultError,
    NotReadyError,
    QueueFullError,
    ReceiveError,
    RequestError,
    TooLargeError,
)
from serve.body import RECEIVE_S, BodyReader, Workers
from serve.classifier import SMALL_PIXELS, Classifier
from serve.devices import usable_cpus
from serve.guard import Guard
from serve.oip import decode_request
from serve.oip_response import encode_response
from serve.preprocess import MAX_PIXELS, ImageError, ImageTooLargeError
from serve.table_body import decode_table
from serve.verdict import read_verdicts, require_verdicts

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 << 20
MAX_TOTAL_BODY_BYTES = 512 << 20
HEADER_LENGTH = "Inference-Header-Content-Length"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STATUS: dict[type[Exception], int] = {
    RequestError: 400,
    ImageError: 400,
    ReceiveError: 408,
    TooLargeError: 413,
    ImageTooLargeError: 413,
    QueueFullError: 429,
    ModelFaultError: 500,
    NotReadyError: 503,
    DeadlineError: 504,
}
_NOT_OFFERED = (
    "/v2/models/stats",
    "/v2/models/{name}/stats",
    "/v2/models/{name}/versions/{version}/stats",
    "/v2/models/{name}/trace/setting",
    "/v2/trace/setting",
    "/v2/logging",
    "/v2/repository/models/{name}/load",
    "/v2/repository/models/{name}/unload",
    "/v2/systemsharedmemory/{rest:path}",
    "/v2/cudasharedmemory/{rest:path}",
    "/v2/models/{name}/generate",
    "/v2/models/{name}/generate_stream",
)


class Page(Protocol):
    """An ASGI app that shows the models to people."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        ...

    async def aclose(self) -> None:
        """End what it started."""
        ...


def create_app(
    classifiers: Mapping[str, Classifier],
    *,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_total_body_bytes: int = MAX_TOTAL_BODY_BYTES,
    receive_s: float = RECEIVE_S,
    max_pixels: int = MAX_PIXELS,
    hosts: Collection[str] | None = None,
    page: Page | None = None,
    draining: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Build the server.

    Args:
        classifiers: By name; who opened them closes them.
        max_body_bytes: Largest body, unpacked.
        max_total_body_bytes: Most bytes of all bodies at once.
        receive_s: Seconds that a client has for sending a body.
        max_pixels: Largest image, width x height.
        hosts: Names under which it answers, against DNS rebinding; any where it is None.
        page: What answers every path that is not the API's.
        draining: Says whether the server is about to stop, and so not ready any more.
    """
    api = _Api(
        classifiers,
        max_body_bytes=max_body_bytes,
        max_total_body_bytes=max_total_body_bytes,
        receive_s=receive_s,
        max_pixels=max_pixels,
        draining=draining,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
            if page is not None:
                await page.aclose()
        finally:
            api.close()

    model = "/v2/models/{name}"
    routes = [
        Route("/v2", api.server),
        Route("/v2/health/live", api.live),
        Route("/v2/health/ready", api.ready),
        Route("/v2/repository/index", api.index, methods=["POST"]),
        *(Route(path, _not_offered, methods=["GET", "POST"]) for path in _NOT_OFFERED),
        *(
            route
            for prefix in (model, f"{model}/versions/{{version}}")
            for route in (
                Route(prefix, api.model),
                Route(f"{prefix}/ready", api.model_ready),
                Route(f"{prefix}/config", api.config),
                Route(f"{prefix}/infer", api.infer, methods=["POST"]),
            )
        ),
        Route("/predict/{name}", api.predict, methods=["POST"]),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _on_http_error, Exception: _on_crash, ClientDisconnect: _on_gone}
        | dict.fromkeys(_STATUS, _on_error),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.hurry = api.bodies.hurry
    if page is not None:
        app.router.default = _Fallback(page)
    return app


class _Fallback:
    """Send what no route of the API matches to the page, save paths that only the API could mean."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(("/v2/", "/predict")):
            raise HTTPException(404)
        await self.page(scope, receive, send)


class _Api:
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
        self.workers.close()
        self.large_images.close()

    async def server(self, _: Request) -> Response:
        return _json(metadata.server_metadata())

    async def live(self, _: Request) -> Response:
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        self._refuse_draining()
        for classifier in self.classifiers.values():
            _refuse_unready(classifier)
        return _json({"ready": True})

    async def index(self, _: Request) -> Response:
        return _json(metadata.repository_index(self.classifiers.values()))

    async def model(self, request: Request) -> Response:
        return _json(metadata.model_metadata(self._find(request)))

    async def model_ready(self, request: Request) -> Response:
        classifier = self._find(request)
        self._refuse_draining()
        _refuse_unready(classifier)
        return _json({"name": classifier.name, "ready": True})

    async def config(self, request: Request) -> Response:
        return _json(metadata.model_config(self._find(request)))

    async def infer(self, request: Request) -> Response:
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
            return Response(content, media_type="application/json", headers=_HEADERS)
        headers = {**_HEADERS, HEADER_LENGTH: str(json_length)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def predict(self, request: Request) -> Response:
        async with self.bodies.read(request) as body:
            classifier = self._find(request)
            _refuse_unready(classifier)
            require_verdicts(classifier.manifest)
            content, single = await _file_in(request, body), True
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
        return _json(
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


async def _file_in(request: Request, body: bytes) -> bytes:
    """Return the image: the body itself, or the one file in a form."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return body
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def stream() -> AsyncIterator[bytes]:
        yield body

    try:
        form = await MultiPartParser(request.headers, stream(), max_files=1, max_fields=16).parse()  # type: ignore[arg-type]
    except MultiPartException as error:
        raise RequestError(f"the form cannot be read ({error.message}), but one with one file was expected") from error
    try:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise RequestError(f"the form has {len(files)} files, but one was expected; send the image as a file")
        return await files[0].read()
    finally:
        await form.close()


def _prediction(classifier: Classifier, answer: Answer, *, single: bool) -> dict[str, Any]:
    found = [
        {"prediction": verdict.values}
        if verdict.label is None
        else {"label": verdict.label, "probability": verdict.probability, "probabilities": verdict.values}
        for verdict in read_verdicts(classifier.manifest, answer.outputs)
    ]
    return found[0] if single else {"predictions": found}


def _json(content: object, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type="application/json",
        headers={**_HEADERS, **(headers or {})},
    )


async def _not_offered(request: Request) -> Response:
    return _json({"error": f"{request.method} {request.url.path} is not offered by this server"}, status=501)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - how Starlette types handlers
    sentences = {
        404: f"{request.url.path} is not a path of this server; /v2, /v2/models/NAME/infer and /predict/NAME are",
        405: f"{request.method} is not allowed on {request.url.path}; use {(error.headers or {}).get('Allow', '')}",
    }
    known = error.detail in {"Not Found", "Method Not Allowed"}
    message = sentences.get(error.status_code, error.detail) if known else error.detail
    return _json({"error": message}, error.headers, status=error.status_code)


async def _on_error(request: Request, error: Exception) -> Response:
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, QueueFullError) else {}
    if isinstance(error, ReceiveError):
        headers["Connection"] = "close"  # what is left of the body may still come, and is no new request
    if isinstance(error, ModelFaultError):
        logger.error("%s failed: %s", request.url.path, error, exc_info=error)
    return _json({"error": str(error)}, headers, status=status)


async def _on_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the code is what proxies log for a client that went away


async def _on_crash(request: Request, _: Exception) -> Response:
    message = f"the server failed on {request.method} {request.url.path}; its log says why"
    return _json({"error": message}, status=500)
