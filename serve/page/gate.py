"""What stands between the network and Gradio: the few routes the page needs, bounded bodies, uploaded files only.

Gradio's own checks are not enough for a server that promises never to fetch a URL that a client sends: a mounted app
(6.31) lets `queue/join` name any file of the machine, and downloads any public address that stands in a path's place.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from serve.page.uploads import LEAST_BYTES, measure

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

EVENT_BYTES = 4 << 20  # one event of the page: a drawing is some 20 kB of it
_FORM_BYTES = 64 << 10  # boundaries and headers of a multipart form, over and above the file in it
# Gradio compiles its templates in the browser, hence the two unsafe ones; nothing leaves this server
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "frame-ancestors 'self'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_SLOW_HEARTBEAT = b"retry: 86400000\ndata: ALIVE\n\n"

_OPEN = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/assets/.+|/static/.+"
    r"|/gradio_api/(theme\.css|startup-events|queue/data|upload_progress|file=.+|heartbeat/[^/]+)"
)
_POSTED = re.compile(r"/gradio_api/(queue/join|upload|cancel|reset)")


class PageGate:
    """Let through what the page itself sends, and answer everything else with 404, 405, 413, 429 or 400.

    Args:
        app: Gradio's app.
        upload_folder: Where Gradio keeps uploads; no file outside it may be named.
        max_upload_bytes: Largest image file, in bytes.
        max_total_bytes: Most bytes of all files that are kept and arriving.
    """

    def __init__(self, app: ASGIApp, *, upload_folder: Path, max_upload_bytes: int, max_total_bytes: int) -> None:
        self.app = app
        self.upload_folder = upload_folder.resolve()
        self.max_upload_bytes = max_upload_bytes
        self.max_total_bytes = max_total_bytes
        self._arriving_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the page was asked for {scope['type']}, but speaks only HTTP")
        send = _with_headers(send)
        path, method = scope["path"].removeprefix(scope.get("root_path", "")) or "/", scope["method"]
        if method == "POST" and _POSTED.fullmatch(path):
            await self._post(path, scope, receive, send)
        elif method in {"GET", "HEAD"} and _OPEN.fullmatch(path):
            await self._get(path, scope, receive, send)
        else:
            known = _POSTED.fullmatch(path) or _OPEN.fullmatch(path)
            await _refusal(405 if known else 404, f"{method} {path} is not offered")(scope, receive, send)

    async def _get(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path.startswith("/gradio_api/heartbeat/"):
            # Gradio's never ends, so that one open browser tab would keep the server from stopping
            await Response(_SLOW_HEARTBEAT, media_type="text/event-stream")(scope, receive, send)
            return
        _, is_file, file = path.partition("/gradio_api/file=")
        if is_file and not self._is_upload(file):
            await _refusal(403, "only uploaded files can be read")(scope, receive, send)
            return
        if path == "/":
            scope = {**scope, "query_string": b""}  # no deep links: they load a state that somebody else chose
        await self.app(scope, receive, send)

    async def _post(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        upload = path.endswith("/upload")
        limit = self.max_upload_bytes + _FORM_BYTES if upload else EVENT_BYTES
        declared = Headers(scope=scope).get("content-length")
        if declared is None or not declared.isdecimal():
            await _refusal(411, "the request has no Content-Length")(scope, receive, send)
        elif int(declared) > limit:
            await _refusal(413, f"the request has {int(declared):,} bytes, but at most {limit:,} are taken")(
                scope, receive, send
            )
        elif upload:
            await self._upload(int(declared), scope, receive, send)
        else:
            await self._event(scope, receive, send)

    async def _upload(self, size_bytes: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an upload on where there is room for it beside those that are kept and those that are arriving."""
        reserved = max(LEAST_BYTES, size_bytes)
        self._arriving_bytes += reserved
        try:
            arriving = self._arriving_bytes  # before the folder, so that a file in between counts twice and not never
            kept = await asyncio.to_thread(measure, self.upload_folder)
            if arriving + kept > self.max_total_bytes:
                message = "the server holds as many uploads as it may; try again in a few minutes"
                await _refusal(429, message, {"Retry-After": "300"})(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        finally:
            self._arriving_bytes -= reserved

    async def _event(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an event on, written anew from what was checked, so that nobody downstream reads it differently."""
        body = await _read(receive)
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            await _refusal(400, "the body is no JSON")(scope, receive, send)
            return
        stranger = self._first_stranger(event)
        if stranger is not None:
            message = (
                f"file {stranger[:200]!r} was not uploaded here, and no other file or address is read; upload the image"
            )
            await _refusal(400, message)(scope, receive, send)
            return
        checked = json.dumps(event).encode()
        headers = [
            (name, value) for name, value in scope["headers"] if name not in {b"content-length", b"content-type"}
        ]
        headers += [(b"content-length", str(len(checked)).encode()), (b"content-type", b"application/json")]
        delivered = False

        async def replay() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()
            delivered = True
            return {"type": "http.request", "body": checked, "more_body": False}

        await self.app({**scope, "headers": headers}, replay, send)

    def _first_stranger(self, value: object) -> str | None:
        """Return the first path in a JSON value that is no uploaded file, or None."""
        pending = [value]
        while pending:
            item = pending.pop()
            if isinstance(item, dict):
                if "path" in item and not self._is_upload(item["path"]):
                    return str(item["path"])
                pending.extend(item.values())
            elif isinstance(item, list):
                pending.extend(item)
        return None

    def _is_upload(self, path: object) -> bool:
        """Say whether a path is that of a file in the upload folder, with nothing on the way leading elsewhere."""
        if not isinstance(path, str) or "\0" in path:
            return False
        try:
            resolved = Path(path).resolve()
            return Path(path).is_absolute() and resolved.is_relative_to(self.upload_folder) and resolved.is_file()
        except OSError:  # a name too long for the file system
            return False


def _with_headers(send: Send) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return send_with


async def _read(receive: Receive) -> bytes:
    """Return a body whose length the caller has bounded; the HTTP server holds clients to their Content-Length."""
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return b"".join(chunks)


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status, headers=headers)
