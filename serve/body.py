"""Request bodies, within bounds: each of them, all of them together, and what they unpack to."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from starlette.requests import Request

from serve.answer import QueueFullError, ReceiveError, RequestError, TooLargeError

P = ParamSpec("P")
T = TypeVar("T")

RECEIVE_S = 30.0
HURRY_S = 2.0
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


class BodyReader:
    """Reads bodies, and refuses those that are too large, or too many at a time, before they fill the memory.

    Args:
        max_bytes: Largest body, unpacked.
        max_total_bytes: Most bytes of all the bodies that are being read or answered.
        workers: Where they are unpacked.
        receive_s: Seconds that a client has for sending one, so that silent ones do not fill the memory for all.
    """

    def __init__(
        self, *, max_bytes: int, max_total_bytes: int, workers: "Workers", receive_s: float = RECEIVE_S
    ) -> None:
        self.receive_s = receive_s
        self.max_bytes = max_bytes
        self.max_total_bytes = max_total_bytes
        self._workers = workers
        self._total_bytes = 0
        self._limits: set[asyncio.Timeout] = set()

    def hurry(self, seconds: float = HURRY_S) -> None:
        """Give the bodies that are still coming only so long: the server is about to stop."""
        self.receive_s = min(self.receive_s, seconds)
        latest = asyncio.get_running_loop().time() + seconds
        for limit in self._limits:
            if (limit.when() or latest) > latest:
                limit.reschedule(latest)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the unpacked body; its bytes count until the block is left.

        Raises:
            RequestError: its encoding is unknown, or its packing damaged.
            TooLargeError: it is larger than the cap, packed or unpacked.
            ReceiveError: it did not come in time.
            QueueFullError: the bodies of other requests fill the memory set aside for them.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._total_bytes + size > self.max_total_bytes:
                raise QueueFullError(
                    f"the requests being answered hold {self._total_bytes:,} bytes, and at most "
                    f"{self.max_total_bytes:,} are held at once; send it again later",
                    retry_after_s=1,
                )
            held += size
            self._total_bytes += size

        try:
            try:
                async with asyncio.timeout(self.receive_s) as limit:
                    self._limits.add(limit)
                    try:
                        body = await self._receive(request, hold)
                    finally:
                        self._limits.discard(limit)
            except TimeoutError as error:
                raise ReceiveError(
                    f"the body did not come in full within {self.receive_s:g} s; send it again, or less at once"
                ) from error
            encoding = request.headers.get("content-encoding", "identity").lower()
            if encoding != "identity":
                body = await self._workers.run(unpack, body, encoding, self.max_bytes)  # a few bytes may hold millions
                hold(len(body))
            yield body
        finally:
            self._total_bytes -= held

    async def _receive(self, request: Request, hold: Callable[[int], None]) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            if "expect" not in request.headers:
                await _discard(request, 2 * self.max_bytes)
            raise self._too_large(f"{int(declared):,}")
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self.max_bytes:
                raise self._too_large(f"more than {self.max_bytes:,}")
            hold(len(chunk))
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _too_large(self, found: str) -> TooLargeError:
        return TooLargeError(f"the body has {found} bytes, but at most {self.max_bytes:,} are taken; send less at once")


class Workers:
    """A few threads for what would hold up the event loop, and a bounded number of requests that wait for one.

    Args:
        threads: How many run at once.
        max_waiting: How many may run or wait.
    """

    inline_bytes = 64 << 10

    def __init__(self, *, threads: int, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._waiting = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread.

        Raises:
            QueueFullError: too many wait already.
        """
        if self._waiting >= self.max_waiting:
            raise QueueFullError(
                f"{self._waiting} requests wait for a decoder, and at most {self.max_waiting} may; send it again later",
                retry_after_s=1,
            )
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._pool.submit(function, *args, **kwargs))
        finally:
            self._waiting -= 1

    async def run_sized(self, size_bytes: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function at once where it has few bytes to work on, and in a thread where it has many."""
        if size_bytes <= self.inline_bytes:
            return function(*args, **kwargs)
        return await self.run(function, *args, **kwargs)

    def close(self) -> None:
        """End the threads; those at work finish first."""
        self._pool.shutdown()


def unpack(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Unpack a body with ``Content-Encoding`` gzip or deflate.

    Raises:
        RequestError: the encoding is another one, or the bytes are damaged or cut short.
        TooLargeError: there is more in it than the cap; no more than that is unpacked.
    """
    if encoding not in _WINDOW_BITS:
        raise RequestError(f"Content-Encoding is {encoding}, but one of identity, gzip, deflate was expected")
    unpacker = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise RequestError(
            f"the body is no {encoding} ({error}); send it again, or without Content-Encoding"
        ) from error
    if len(content) > max_bytes:
        raise TooLargeError(
            f"the body unpacks to more than {max_bytes:,} bytes, but at most that are taken; send less at once"
        )
    if not unpacker.eof or unpacker.unused_data:
        found = "more after its end" if unpacker.eof else "no end"
        raise RequestError(f"the {encoding} body has {found}, so it was cut short or damaged; send it again")
    return content


async def _discard(request: Request, limit: int) -> None:
    """Read and drop some of what a client insists on sending: it hears the refusal only after it has finished."""
    async for chunk in request.stream():
        limit -= len(chunk)
        if limit < 0:
            return
