"""The gate before Gradio: a fake app behind it records what gets through."""

import asyncio
import json
import os
import time
from pathlib import Path

import httpx
import pytest

from serve.page.gate import EVENT_BYTES, Message, PageGate, Receive, Scope, Send
from serve.page.uploads import DELETE_AFTER_S, LEAST_BYTES, measure

LIMIT = 1000
FORM = 64 << 10
TOTAL = 1 << 20


class Behind:
    """The app behind the gate: answers 200 to everything and keeps what it got."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.queries: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message: Message = await receive()
        self.paths.append(scope["path"])
        self.queries.append(scope["query_string"])
        self.bodies.append(message.get("body", b""))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"through"})


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    (folder / "abc").mkdir(parents=True)
    (folder / "abc" / "photo.png").write_bytes(b"pixels")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.png").symlink_to(tmp_path / "secret.txt")
    return folder


@pytest.fixture
def gate(behind: Behind, uploads: Path) -> PageGate:
    return PageGate(behind, upload_folder=uploads, max_upload_bytes=LIMIT, max_total_bytes=TOTAL)


def ask(gate: PageGate, method: str, url: str, **options) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, url, **options)

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/config"),
        ("GET", "/theme.css"),
        ("GET", "/assets/index-abc.js"),
        ("GET", "/static/js/x.js"),
        ("GET", "/gradio_api/queue/data?session_hash=a"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/queue/join"),
    ],
)
def test_what_the_page_needs_gets_through(gate: PageGate, behind: Behind, method: str, path: str) -> None:
    response = ask(gate, method, path, **({"json": {"data": []}} if method == "POST" else {}))
    assert response.status_code == 200
    assert behind.paths == [path.partition("?")[0]]
    assert "connect-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/gradio_api/run/predict", 404),
        ("POST", "/gradio_api/api/predict", 404),
        ("POST", "/gradio_api/call/predict", 404),
        ("POST", "/gradio_api/call/v2/predict", 404),
        ("GET", "/gradio_api/call/predict/abc", 404),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/", 404),
        ("GET", "/gradio_api/file/etc/passwd", 404),
        ("POST", "/gradio_api/component_server", 404),
        ("POST", "/gradio_api/process_recording", 404),
        ("POST", "/gradio_api/vibe-edit", 404),
        ("POST", "/gradio_api/stream/abc", 404),
        ("GET", "/gradio_api/custom_component/a/client/b/c", 404),
        ("GET", "/gradio_api/info", 404),
        ("GET", "/monitoring", 404),
        ("POST", "/login", 404),
        ("GET", "/gradio_api/queue/join", 405),
        ("DELETE", "/", 405),
        ("POST", "/config", 405),
    ],
)
def test_everything_else_is_refused(gate: PageGate, behind: Behind, method: str, path: str, status: int) -> None:
    response = ask(gate, method, path)
    assert response.status_code == status
    assert response.json() == {"error": f"{method} {path} is not offered"}
    assert behind.paths == []


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("/etc/passwd", id="absolute"),
        pytest.param("{uploads}/../secret.txt", id="traversal"),
        pytest.param("{uploads}/abc/../../secret.txt", id="traversal-inside"),
        pytest.param("{uploads}/link.png", id="link"),
        pytest.param("{uploads}/abc", id="folder"),
        pytest.param("{uploads}/absent.png", id="absent"),
        pytest.param("abc/photo.png", id="relative"),
        pytest.param("http://127.0.0.1:9/x.png", id="http"),
        pytest.param("HTTPS://example.org/x.png", id="https"),
        pytest.param("file:///etc/passwd", id="file-url"),
        pytest.param("{uploads}/abc/photo.png\0", id="null"),
        pytest.param("x" * 5000, id="too-long"),
        pytest.param("", id="empty"),
        pytest.param(None, id="none"),
        pytest.param(7, id="number"),
        pytest.param(["/etc/passwd"], id="list"),
    ],
)
def test_only_uploaded_files_can_be_named(gate: PageGate, behind: Behind, uploads: Path, file: object) -> None:
    path = file.format(uploads=uploads) if isinstance(file, str) else file
    nested = {"data": [{"deep": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}], "session_hash": "s"}
    response = ask(gate, "POST", "/gradio_api/queue/join", json=nested)
    assert response.status_code == 400
    assert "was not uploaded here, and no other file or address is read; upload the image" in response.json()["error"]
    if isinstance(path, str) and "\0" not in path and path:
        response = ask(gate, "GET", f"/gradio_api/file={path[:3000]}")
        assert response.status_code == 403
        assert response.json() == {"error": "only uploaded files can be read"}
    assert behind.paths == []


def test_an_uploaded_file_gets_through(gate: PageGate, behind: Behind, uploads: Path) -> None:
    event = {"data": [{"path": str(uploads / "abc" / "photo.png"), "url": "http://127.0.0.1:9/elsewhere"}]}
    assert ask(gate, "POST", "/gradio_api/queue/join", json=event).status_code == 200
    assert json.loads(behind.bodies[0]) == event
    assert ask(gate, "GET", f"/gradio_api/file={uploads / 'abc' / 'photo.png'}").status_code == 200


def test_a_repeated_key_cannot_hide_a_path(gate: PageGate, behind: Behind, uploads: Path) -> None:
    good, body = str(uploads / "abc" / "photo.png"), '{"data": [{"path": "/etc/passwd", "path": "%s"}]}'
    assert ask(gate, "POST", "/gradio_api/queue/join", content=body % good).status_code == 200
    assert b"passwd" not in behind.bodies[0]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000], ids=["empty", "cut", "bytes", "deep"])
def test_what_is_no_json_is_refused(gate: PageGate, behind: Behind, body: bytes) -> None:
    response = ask(gate, "POST", "/gradio_api/queue/join", content=body, headers={"content-length": str(len(body))})
    assert response.status_code == 400
    assert response.json() == {"error": "the body is no JSON"}
    assert behind.paths == []


@pytest.mark.parametrize(
    ("path", "limit"), [("/gradio_api/upload", LIMIT + FORM), ("/gradio_api/queue/join", EVENT_BYTES)]
)
def test_bodies_are_bounded(gate: PageGate, behind: Behind, path: str, limit: int) -> None:
    fitting = b'"' + b"a" * (limit - 2) + b'"'
    assert ask(gate, "POST", path, content=fitting).status_code == 200
    response = ask(gate, "POST", path, content=fitting + b" ")
    assert response.status_code == 413
    assert response.json() == {"error": f"the request has {limit + 1:,} bytes, but at most {limit:,} are taken"}
    assert len(behind.paths) == 1


@pytest.mark.parametrize(("kept", "status"), [(TOTAL - 2 * LEAST_BYTES, 200), (TOTAL - 2 * LEAST_BYTES + 1, 429)])
def test_the_sum_of_uploads_is_bounded(
    gate: PageGate, behind: Behind, uploads: Path, tmp_path: Path, kept: int, status: int
) -> None:
    (uploads / "link.png").unlink()
    (uploads / "abc" / "large.png").write_bytes(bytes(kept))  # beside a small file, which counts as LEAST_BYTES
    response = ask(gate, "POST", "/gradio_api/upload", content=b"x")
    assert response.status_code == status
    if status == 429:
        assert response.json() == {"error": "the server holds as many uploads as it may; try again in a few minutes"}
        assert response.headers["retry-after"] == "300"
        assert behind.paths == []
        (uploads / "abc" / "large.png").unlink()
        assert ask(gate, "POST", "/gradio_api/upload", content=b"x").status_code == 200


def test_uploads_that_are_arriving_count_too(uploads: Path) -> None:
    async def go() -> list[int]:
        entered, release = asyncio.Semaphore(0), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            entered.release()
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        gate = PageGate(slow, upload_folder=uploads, max_upload_bytes=LIMIT, max_total_bytes=4 * LEAST_BYTES)
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            first = [asyncio.create_task(client.post("/gradio_api/upload", content=b"x")) for _ in range(2)]
            for _ in first:
                await entered.acquire()
            second = await client.post("/gradio_api/upload", content=b"x")
            release.set()
            passed = await asyncio.gather(*first)
            third = await client.post("/gradio_api/upload", content=b"x")
            return [response.status_code for response in (*passed, second, third)]

    (uploads / "abc" / "second.png").write_bytes(b"pixels")
    (uploads / "link.png").unlink()
    assert asyncio.run(go()) == [200, 200, 429, 200]


def test_what_uploads_left_behind_is_deleted_in_time(uploads: Path) -> None:
    now = time.time()
    for name, age_s in (("old", 2 * DELETE_AFTER_S + 5), ("young", 2 * DELETE_AFTER_S - 60)):
        (uploads / name).write_bytes(bytes(100_000))
        os.utime(uploads / name, (now - age_s, now - age_s))
    assert measure(uploads) == 100_000 + 2 * LEAST_BYTES
    assert sorted(path.name for path in uploads.iterdir()) == ["abc", "link.png", "young"]
    assert measure(uploads / "absent") == 0


def test_a_body_without_a_length_is_refused(gate: PageGate, behind: Behind) -> None:
    async def chunks():
        yield b"{}"

    response = ask(gate, "POST", "/gradio_api/queue/join", content=chunks())
    assert response.status_code == 411
    assert response.json() == {"error": "the request has no Content-Length"}
    assert behind.paths == []


def test_a_heartbeat_ends_so_that_a_server_with_open_tabs_can_stop(gate: PageGate, behind: Behind) -> None:
    response = ask(gate, "GET", "/gradio_api/heartbeat/abc")
    assert response.text == "retry: 86400000\ndata: ALIVE\n\n"
    assert behind.paths == []


def test_no_deep_link_gets_through(gate: PageGate, behind: Behind) -> None:
    assert ask(gate, "GET", "/?deep_link=abc").status_code == 200
    assert behind.queries == [b""]


def test_only_http_is_spoken(gate: PageGate) -> None:
    with pytest.raises(RuntimeError, match="the page was asked for websocket, but speaks only HTTP"):
        asyncio.run(gate({"type": "websocket"}, None, None))  # type: ignore[arg-type]
