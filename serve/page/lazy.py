"""The page as an ASGI app that costs nothing until somebody opens it."""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from serve.classifier import Classifier
from serve.page.gate import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

_BROKEN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>No page</title>
<body style="font-family: system-ui, sans-serif; margin: 3rem auto; max-width: 40rem; padding: 0 1rem">
<h1>No page here</h1><p>The page cannot be shown, because Gradio does not load on this machine; the server's log says
why. Everything else of this server works: <a href="docs">/docs</a> describes it.</p></body></html>"""


class LazyPage:
    """Import Gradio and build the page at the first request, once, in a thread; later requests only pass through.

    Whoever mounts it calls `aclose` when the server stops, or sends it the lifespan messages.

    Args:
        classifiers: By name.
    """

    def __init__(self, classifiers: Mapping[str, Classifier]) -> None:
        self._classifiers = classifiers
        self._building: asyncio.Task[ASGIApp | None] | None = None
        self._stop: asyncio.Event | None = None
        self._lifespan: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, after the page stands."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if self._building is None:
            self._building = asyncio.create_task(self._build())
        # shielded, so that a visitor who goes away does not take the page from the others
        app = await asyncio.shield(self._building)
        await (app or HTMLResponse(_BROKEN, status_code=503))(scope, receive, send)

    async def aclose(self) -> None:
        """End Gradio's own tasks and delete what visitors uploaded."""
        if self._building is not None:
            await self._building
        if self._stop is not None and self._lifespan is not None:
            self._stop.set()
            await self._lifespan
        self._building = self._stop = self._lifespan = None

    async def _build(self) -> ASGIApp | None:
        try:
            app, gate = await asyncio.to_thread(_load, self._classifiers)
        except ImportError:
            logger.exception("the page cannot be shown, because gradio does not import; install it again")
            return None
        started, self._stop = asyncio.Event(), asyncio.Event()
        stop = self._stop

        async def live() -> None:
            async with app.router.lifespan_context(app):
                started.set()
                await stop.wait()

        self._lifespan = asyncio.create_task(live())
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({self._lifespan, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not started.is_set():
            waiting.cancel()
            self._lifespan.result()  # raises what kept it from starting
        return gate

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _load(classifiers: Mapping[str, Classifier]) -> "tuple[FastAPI, ASGIApp]":
    from serve.page.build import build_app

    async def build() -> "tuple[FastAPI, ASGIApp]":
        return build_app(classifiers)

    # where no loop runs, Gradio (6.31) makes one for each lock and closes none: gradio/utils.py, safe_get_lock
    return asyncio.run(build())
