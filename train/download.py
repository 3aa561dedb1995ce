"""One file over HTTPS: into a ``.partial`` beside its target, taken up again after a break, checked, then renamed."""

import hashlib
import http
import http.client
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

ATTEMPTS = 3
TIMEOUT_S = 30.0
BLOCK_BYTES = 1 << 16
ETAG = re.compile(r'"[\x21\x23-\x7e]*"')  # strong ones only: weak ones do not say that the bytes are the same
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class DownloadError(ValueError):
    """A file that could not be had whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a file comes from, and how it is known to be the right one.

    Attributes:
        url: HTTPS; plain HTTP only from this very machine.
        most_bytes: A longer answer is refused.
        md5: Hexadecimal digest of the file, or None where only what is in it can be checked.
    """

    url: str
    most_bytes: int
    md5: str | None = None

    def __post_init__(self) -> None:
        _check_url(self.url, loopback=True)


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """The connection ended early; what has arrived is kept."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from HTTPS to something weaker, not even on this machine."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_url(newurl, loopback=_is_loopback(req.full_url))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(source: Source, target: Path, *, timeout_s: float = TIMEOUT_S) -> None:
    """Fetch a file; it is at its target whole and right, or not at all.

    What arrived before a break stays in ``target.partial``, and the rest is asked for: at once, and by the next call;
    the server's ETag stays beside it, so that the rest of a changed file is not appended.

    Args:
        source: What to fetch.
        target: The path to write; its folder exists.
        timeout_s: Seconds without a byte before the connection counts as broken.

    Raises:
        DownloadError: says from where, how far it came, and what to do.
    """
    partial = target.with_name(f"{target.name}.partial")
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"downloading {source.url}", highlight=False, soft_wrap=True)
    with Progress(
        TextColumn("downloading {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(target.name, total=None)
        for attempt in range(ATTEMPTS):
            try:
                _fetch_rest(source, partial, progress=progress, timeout_s=timeout_s)
                break
            except _Broken as error:
                if attempt == ATTEMPTS - 1:
                    raise DownloadError(
                        f"{source.url} broke off after {_size(partial):,} bytes{_of_total(progress)} ({error}); "
                        "run again to go on from there"
                    ) from error
        progress.update(task, completed=_size(partial))
    _check_digest(source, partial)
    partial.replace(target)
    _tag_file(partial).unlink(missing_ok=True)


def _fetch_rest(source: Source, partial: Path, *, progress: Progress, timeout_s: float) -> None:
    """Append what is missing to the partial file; start anew where the server cannot go on from the middle."""
    held, tag = _size(partial), _read_tag(partial)
    request = urllib.request.Request(source.url, headers={"User-Agent": "facsimile"})  # noqa: S310 - the scheme is checked
    if held:
        request.add_header("Range", f"bytes={held}-")
        if tag:
            request.add_header("If-Range", tag)  # where the file was changed meanwhile, the whole new one comes
    try:
        with urllib.request.build_opener(_SafeRedirects).open(request, timeout=timeout_s) as response:
            begin, total = _check_place(response, source, partial, tag)
            progress.update(progress.task_ids[0], total=total, completed=begin)
            if not begin:
                _discard(partial)
                _keep_tag(partial, response.headers.get("ETag", ""))
            with partial.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                file.truncate()
                _copy(response, file, source, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range") == f"bytes */{held}":
                return  # nothing is missing: only the check and the renaming were
            _discard(partial)
            raise _Broken(f"the server has no byte {held:,}") from error
        raise DownloadError(f"{source.url} cannot be had: the server says {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if held or _size(partial):
            raise _Broken(" ".join(str(reason).split())) from error
        raise DownloadError(f"{source.url} cannot be reached: {' '.join(str(reason).split())}") from error
    if total is not None and _size(partial) < total:
        raise _Broken("the connection was closed")


def _copy(response: IO[bytes], file: IO[bytes], source: Source, progress: Progress) -> None:
    while block := response.read(BLOCK_BYTES):
        file.write(block)
        progress.advance(progress.task_ids[0], len(block))
        if file.tell() > source.most_bytes:
            raise DownloadError(_too_long(source, file.tell()))


def _check_place(response: http.client.HTTPResponse, source: Source, partial: Path, tag: str) -> tuple[int, int | None]:
    """Return where the answer's first byte belongs and how long the whole file is, if the answer is of any use."""
    begin, total = _place(response)
    held, sent_tag = _size(partial), response.headers.get("ETag", "")
    if begin not in {0, held}:
        _discard(partial)
        raise _Broken(f"the server sent another part than the one from byte {held:,} on")
    if begin and tag and ETAG.fullmatch(sent_tag) and sent_tag != tag:
        _discard(partial)
        raise _Broken("the server sent a part of another file than the one that was begun")
    if max(begin, total or 0) > source.most_bytes:
        raise DownloadError(_too_long(source, max(begin, total or 0)))
    return begin, total


def _place(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return where the answer's first byte belongs, and how long the whole file is, where the server says so."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None:
            return -1, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _check_digest(source: Source, partial: Path) -> None:
    if source.md5 is None:
        return
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != source.md5:
        _discard(partial)
        raise DownloadError(
            f"{source.url} has md5 {found[:12]}…, but {source.md5[:12]}… was expected; what came was damaged and is "
            "deleted, run again"
        )


def _is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


def _check_url(url: str, *, loopback: bool) -> None:
    """Check that a URL is HTTPS; or, where that is allowed, plain HTTP from this machine."""
    if urlsplit(url).scheme != "https" and not (loopback and _is_loopback(url)):
        raise DownloadError(f"{url} is not HTTPS, but only HTTPS is downloaded from; get the file by hand")


def _too_long(source: Source, found: int) -> str:
    return f"{source.url} has {found:,} bytes or more, but at most {source.most_bytes:,} were expected; it is not used"


def _tag_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.etag")


def _read_tag(partial: Path) -> str:
    """Return what the server called the file of which a part is held, or nothing."""
    try:
        tag = _tag_file(partial).read_text(encoding="ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return tag if ETAG.fullmatch(tag) else ""


def _keep_tag(partial: Path, tag: str) -> None:
    if ETAG.fullmatch(tag):
        _tag_file(partial).write_text(tag, encoding="ascii")


def _discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _tag_file(partial).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _of_total(progress: Progress) -> str:
    total = progress.tasks[0].total
    return "" if total is None else f" of {total:,.0f}"
