"""How the server puts an answer or an error into HTTP: JSON, the headers of every response, a status per exception."""

import logging
from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from serve.answer import (
    DeadlineError,
    ModelFaultError,
    NotReadyError,
    QueueFullError,
    ReceiveError,
    RequestError,
    TooLargeError,
)
from serve.preprocess import ImageError, ImageTooLargeError

logger = logging.getLogger(__name__)

HEADERS = {
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


def json_reply(content: object, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Response:
    """Return a response that holds a document as JSON."""
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type="application/json",
        headers={**HEADERS, **(headers or {})},
    )


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - how Starlette types handlers
    sentences = {
        404: f"{request.url.path} is not a path of this server; /v2, /v2/models/NAME/infer and /predict/NAME are",
        405: f"{request.method} is not allowed on {request.url.path}; use {(error.headers or {}).get('Allow', '')}",
    }
    known = error.detail in {"Not Found", "Method Not Allowed"}
    message = sentences.get(error.status_code, error.detail) if known else error.detail
    return json_reply({"error": message}, error.headers, status=error.status_code)


async def _on_error(request: Request, error: Exception) -> Response:
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, QueueFullError) else {}
    if isinstance(error, ReceiveError):
        headers["Connection"] = "close"  # what is left of the body may still come, and is no new request
    if isinstance(error, ModelFaultError):
        logger.error("%s failed: %s", request.url.path, error, exc_info=error)
    return json_reply({"error": str(error)}, headers, status=status)


async def _on_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the code is what proxies log for a client that went away


async def _on_crash(request: Request, _: Exception) -> Response:
    message = f"the server failed on {request.method} {request.url.path}; its log says why"
    return json_reply({"error": message}, status=500)


EXCEPTION_HANDLERS: dict[type[Exception], ExceptionHandler] = {
    HTTPException: _on_http_error,
    Exception: _on_crash,
    ClientDisconnect: _on_gone,
    **dict.fromkeys(_STATUS, _on_error),
}
