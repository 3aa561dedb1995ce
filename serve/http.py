"""The HTTP server: Open Inference Protocol v2, predictions of images and tables, health; the page, if any."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serve.api import Api
from serve.body import RECEIVE_S
from serve.classifier import Classifier
from serve.guard import Guard
from serve.preprocess import MAX_PIXELS
from serve.reply import EXCEPTION_HANDLERS, json_reply

MAX_BODY_BYTES = 64 << 20
MAX_TOTAL_BODY_BYTES = 512 << 20
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
    api = Api(
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
        exception_handlers=EXCEPTION_HANDLERS,
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


async def _not_offered(request: Request) -> Response:
    return json_reply({"error": f"{request.method} {request.url.path} is not offered by this server"}, status=501)
