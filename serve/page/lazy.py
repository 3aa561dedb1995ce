"""The page as an ASGI app that costs nothing until somebody opens it."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import HTMLResponse

from serve.classifier import Classifier
from serve.page.gate import ASGIApp, Receive, Scope, Send
from serve.page.uploads import Uploads

logger = logging.getLogger(__name__)

_BROKEN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>No page</title>
<body style="font-family: system-ui, sans-serif; margin: 3rem auto; max-width: 40rem; padding: 0 1rem">
<h1>No page here</h1><p>The page cannot be shown, because Gradio does not load on this machine; the server's log says
why. Load this page again to try again. Everything else of this server works: images go to <code>/predict/NAME</code>,
tensors to <code>/v2/models/NAME/infer</code>.</p></body></html>"""


class LazyPage:
    """Import Gradio and build the page at the first request, once, in a thread; later requests only pass through.

    Where that fails, the log says why, visitors get a page that says so, and the next request tries again.
    Whoever mounts it calls `aclose` when the server stops.

    Args:
        classifiers: By name.
    """

    def __init__(self, classifiers: Mapping[str, Classifier]) -> None:
        self._classifiers = classifiers
        self._building: asyncio.Task[ASGIApp | None] | None = None
        self._uploads: Uploads | None = None
        self._stop: asyncio.Event | None = None
        self._lifespan: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, after the page stands."""
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
        try:
            if self._stop is not None and self._lifespan is not None:
                self._stop.set()
                await self._lifespan
        finally:
            self._forget()

    def _forget(self) -> None:
        self._building = self._stop = self._lifespan = None
        if self._uploads is not None:
            self._uploads.close()
            self._uploads = None

    async def _build(self) -> ASGIApp | None:
        try:
            return await self._start()
        except Exception:
            logger.exception("the page cannot be shown, and the next request tries again")
            self._forget()
            return None

    async def _start(self) -> ASGIApp:
        self._uploads = Uploads()
        app, gate = await asyncio.to_thread(_load, self._classifiers, self._uploads.path)
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


def _load(classifiers: Mapping[str, Classifier], upload_folder: Path) -> tuple[Starlette, ASGIApp]:
    from serve.page.build import build_app

    async def build() -> tuple[Starlette, ASGIApp]:
        return build_app(classifiers, upload_folder)

    # where no loop runs, Gradio (6.31) makes one for each lock and closes none: gradio/utils.py, safe_get_lock
    return asyncio.run(build())
