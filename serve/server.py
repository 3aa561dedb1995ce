"""uvicorn, with an end that operators can rely on: not ready, accepted work finished, exit 0."""

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

GRACE_S = 60


class Server:
    """Serves an app on a bound socket until SIGTERM or SIGINT.

    Args:
        on_started: Called when requests are being answered.

    Attributes:
        stopping: Whether a signal has come.
        on_stopping: Called in the event loop when it has, before accepted requests are waited for.
    """

    def __init__(self, on_started: Callable[[], object]) -> None:
        self.stopping = False
        self.on_stopping: Callable[[], object] = lambda: None
        self._on_started = on_started

    def serve(self, app: ASGIApp, listener: socket.socket) -> None:
        """Serve; return after a signal, when every accepted request has been answered."""
        config = uvicorn.Config(
            app,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        try:
            _Uvicorn(config, self).run(sockets=[listener])
        except SystemExit as stop:  # uvicorn raises the signal once more when it is done, for whoever handled it before
            if stop.code != 0:
                raise

    def started(self) -> None:
        """Tell whoever wants to know that requests are being answered."""
        self._on_started()


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, owner: Server) -> None:
        super().__init__(config)
        self._owner = owner

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._owner.started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._owner.on_stopping()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._owner.stopping = True
        super().handle_exit(signal.Signals(sig), frame)
