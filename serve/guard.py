"""What a browser may not be used for: reaching this server under a foreign name, or from a foreign page."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Refuse requests that a foreign web page makes a browser send.

    A name that resolves to 127.0.0.1 (DNS rebinding) lets a foreign page talk to a local server as if it were its own;
    the Host header gives it away. Other cross-site requests are marked by the browser itself: with Sec-Fetch-Site, but
    that on https and localhost only, and with Origin, which must then name the host that was called.

    Args:
        app: What is guarded.
        hosts: Names under which the server answers; any where it is None.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None) -> None:
        self.app = app
        self.hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request."""
        fault = self._fault(scope) if scope["type"] in {"http", "websocket"} else None
        if fault is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await JSONResponse({"error": fault}, status_code=403)(scope, receive, send)

    def _fault(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host")
        if self.hosts is not None and host is not None and host_name(host) not in self.hosts:
            return (
                f"Host is {host[:200]}, but this server answers as {', '.join(sorted(self.hosts))} only; "
                "start it with --allow-host NAME to add one"
            )
        if scope.get("method") in _SAFE_METHODS:
            return None
        if headers.get("sec-fetch-site") == "cross-site":
            return "the request comes from another site's page, but only this server's own pages may send any"
        origin = headers.get("origin")
        # scheme and port are left out: proxies change them; the origin of a sandboxed page is null
        if origin is not None and host_name(origin.partition("://")[2]) != host_name(host or ""):
            return (
                f"Origin is {origin[:200]}, but the request was sent to {(host or '')[:200]}, "
                "and only this server's own pages may send any; a proxy must pass the Host header on"
            )
        return None


def host_name(host: str) -> str:
    """Return the name in a Host header: without the port, brackets and case."""
    name = host.lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]
