"""The real page, in-process: Gradio, the gate and the classifier together."""

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from socket import socket
from typing import TypeVar

import httpx
import numpy as np
import pytest
from PIL import Image

from serve.classifier import Classifier
from serve.page.build import MAX_UPLOAD_BYTES
from serve.page.lazy import LazyPage
from serve.verdict import read_verdicts
from tests.serve.page_client import PageClient, file_data
from tests.serve.tiny_bundle import write_tabular_bundle, write_tiny_bundle

T = TypeVar("T")

# gradio 6.31 sets an option that pandas 3 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*future.no_silent_downcasting.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where folders of uploads are made."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def color(tmp_path_factory: pytest.TempPathFactory):
    path = write_tiny_bundle(
        tmp_path_factory.mktemp("color") / "color", name="color", color="RGB", drawing=True, seed=2
    )
    with Classifier.open(path, provider="cpu", threads=1) as classifier:
        yield classifier


def on_page(act: Callable[[PageClient], Awaitable[T]], *classifiers: Classifier) -> T:
    async def go() -> T:
        async with PageClient({classifier.name: classifier for classifier in classifiers}) as client:
            return await act(client)

    return asyncio.run(go())


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    target = io.BytesIO()
    image.save(target, file_format, **options)
    return target.getvalue()


def photos() -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (24, 36, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[274] = 6
    alpha = Image.fromarray(rng.integers(0, 256, (24, 36, 4), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (24, 36), dtype=np.uint16))
    return [
        ("rotated.jpg", encoded(image, "JPEG", exif=exif)),
        ("palette.png", encoded(image.quantize(16), "PNG", transparency=3)),
        ("alpha.png", encoded(alpha, "PNG")),
        ("sixteen.png", encoded(deep, "PNG")),
        ("grey.png", encoded(image.convert("L"), "PNG")),
        ("cmyk.jpg", encoded(image.convert("CMYK"), "JPEG")),
        ("moving.gif", encoded(image, "GIF", save_all=True, append_images=[alpha.convert("RGB")])),
        ("photo.webp", encoded(image, "WEBP")),
        ("odd name ü %2e.bmp", encoded(image, "BMP")),
    ]


def test_page_and_http_give_identical_probabilities(color: Classifier) -> None:
    async def act(client: PageClient) -> None:
        for name, data in photos():
            reply = await client.ask_image(await client.upload(name, data))
            response = await client.http.post("/predict/color", content=data)
            assert response.status_code == 200, name
            assert reply.probabilities == response.json()["probabilities"], name
            assert f"{response.json()['label']} with probability {response.json()['probability']:.4f}" in reply.text
            assert color.manifest.sha256 in reply.details

    on_page(act, color)


def test_an_image_that_is_none_gets_a_sentence_and_no_answer(color: Classifier) -> None:
    async def act(client: PageClient) -> None:
        reply = await client.ask_image(await client.upload("text.png", b"just text"))
        assert reply.text.startswith("The 9 bytes are no image in a known format")
        assert 'role="alert"' in reply.verdict
        assert (reply.probabilities, reply.details) == (None, "")
        cut = photos()[0][1][:400]
        reply = await client.ask_image(await client.upload("cut.jpg", cut))
        assert reply.text.startswith("Image cannot be decoded")
        reply = await client.ask("click", [None])
        assert reply.text == "There is no image yet: upload one, take one or paste one."
        reply = await client.ask("change", [None])
        assert reply.text == "The answer appears here: draw, give an image, or click an example."

    on_page(act, color)


def test_a_drawing_is_predicted_from_its_very_bytes(color: Classifier) -> None:
    data = photos()[2][1]
    expected = read_verdicts(color.manifest, color.submit({"image": color.prepare(data)}).result().outputs)[0]

    async def act(client: PageClient) -> None:
        url = "data:image/png;base64," + base64.b64encode(data).decode()
        reply = await client.ask("submit", [], {"image": url})
        assert reply.probabilities == expected.values
        for wrong in ({"image": 7}, {"image": "http://127.0.0.1:9/x.png"}):
            reply = await client.ask("submit", [], wrong)
            assert reply.text.startswith("The drawing is no PNG image")
        for empty in (None, [], {"image": None}):
            reply = await client.ask("submit", [], empty)
            assert reply.text == "There is no drawing yet; draw on the black square first."
        assert (await client.ask("clear", [])).probabilities is None

    on_page(act, color)


def test_an_example_goes_to_the_model_pixel_by_pixel(color: Classifier) -> None:
    golden = color.golden()
    rows = np.flatnonzero(golden.kind == "held-out")

    async def act(client: PageClient) -> None:
        seen = []
        for index in range(len(rows)):
            reply = await client.ask("select", [], {"index": index})
            assert "The true label is" in reply.text
            assert "which agrees" in reply.text
            seen.append(reply.probabilities)
        expected = read_verdicts(color.manifest, color.submit({"image": golden.inputs["image"][rows]}).result().outputs)

        def key(values: dict[str, float]) -> list[float]:
            return list(values.values())

        ordered = [{label: found[label] for label in color.manifest.labels} for found in seen]
        np.testing.assert_allclose(sorted(map(key, ordered)), sorted(key(v.values) for v in expected), rtol=1e-6)
        for wrong in (-1, len(rows), "0", None, 1.5):
            reply = await client.ask("select", [], {"index": wrong})
            assert reply.text == "There is no such example; reload the page."

    on_page(act, color)


class Listener:
    """A local server that counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/x.png"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        """Stop listening, having accepted whatever waits."""
        with socket() as last:
            last.connect(self._socket.getsockname())
            assert last.recv(1) == b""
        self._socket.shutdown(2)
        self._socket.close()
        self._thread.join()
        self.connections -= 1


def test_no_address_is_fetched_and_no_other_file_is_read(color: Classifier, tmp_path: Path) -> None:
    listener = Listener()
    secret = tmp_path / "secret.png"
    secret.write_bytes(photos()[4][1])
    wanted = [
        file_data(listener.url),
        file_data(listener.url, url=listener.url),
        file_data("/etc/passwd"),
        file_data(str(secret)),
        {**file_data(str(secret)), "is_stream": True},
    ]

    async def act(client: PageClient) -> None:
        change, click, drawn = [await client.events(name) for name in ("change", "click", "submit")]
        for file in wanted:
            for event in (change, click):
                response = await client.join(event, [file])
                assert response.status_code == 400
                assert "no other file or address is read" in response.json()["error"]
            response = await client.join(drawn, [], {"image": file})
            assert response.status_code == 400
            for route in ("run/changed", "api/changed", "call/changed", "call/v2/changed", "run/predict"):
                body = {"data": [file], "fn_index": change, "session_hash": "x"}
                response = await client.http.post(f"/gradio_api/{route}", json=body)
                assert response.status_code == 404
                assert "is not offered" in response.json()["error"]
        uploaded = await client.upload("photo.png", photos()[4][1])
        reply = await client.ask("change", [file_data(uploaded, url=listener.url)])
        assert reply.probabilities is not None
        reply = await client.ask("change", [{**file_data(uploaded), "url": "data:image/png;base64,AAAA"}])
        assert reply.probabilities is not None
        for file in ("/etc/passwd", str(secret), listener.url):
            response = await client.http.get(f"/gradio_api/file={file}")
            assert response.status_code == 403
        assert (await client.http.get(f"/gradio_api/proxy={listener.url}")).status_code == 404
        assert (await client.http.get(f"/gradio_api/file={uploaded}")).content == photos()[4][1]

    on_page(act, color)
    listener.close()
    assert listener.connections == 0


def test_uploads_are_bounded_and_gone_at_the_end(color: Classifier, uploads: Path) -> None:
    async def act(client: PageClient) -> None:
        await client.upload("small.png", b"x" * 100)
        for size in (MAX_UPLOAD_BYTES + 1, MAX_UPLOAD_BYTES + (65 << 10)):
            response = await client.http.post("/gradio_api/upload", files={"files": ("large.png", b"x" * size)})
            assert response.status_code == 413
        assert [path.stat().st_size for path in uploads.rglob("*") if path.is_file()] == [100]
        (folder,) = uploads.iterdir()
        assert folder.name.startswith("facsimile-uploads-")
        assert folder.stat().st_mode & 0o077 == 0

    on_page(act, color)
    assert list(uploads.iterdir()) == []


def test_a_folder_that_others_share_is_left_alone(
    color: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "theirs.png").write_bytes(photos()[4][1])
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(shared))

    async def act(client: PageClient) -> None:
        await client.upload("photo.png", photos()[4][1])
        assert (await client.http.get(f"/gradio_api/file={shared / 'theirs.png'}")).status_code == 403

    on_page(act, color)
    assert [path.name for path in shared.iterdir()] == ["theirs.png"]
    assert os.environ["GRADIO_TEMP_DIR"] == str(shared)


def test_an_interpreter_that_just_ends_leaves_no_folder(tmp_path: Path) -> None:
    script = "from serve.page.uploads import Uploads; u = Uploads(); (u.path / 'x').write_text('x'); print(u.path)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert Path(result.stdout.strip()).parent == tmp_path
    assert list(tmp_path.glob("facsimile-*")) == []


@pytest.mark.parametrize("file", [{}, {"url": "http://127.0.0.1:9/x.png"}], ids=["empty", "url-alone"])
def test_an_event_without_a_file_gets_a_sentence(color: Classifier, file: object) -> None:
    async def act(client: PageClient) -> None:
        reply = await client.ask("change", [file])
        assert reply.text == "The image arrived without a file; upload it again."

    on_page(act, color)


def test_every_prediction_goes_through_the_queue(tmp_path: Path) -> None:
    classifier = Classifier.open(write_tiny_bundle(tmp_path / "b"), provider="cpu", threads=1)

    async def act(client: PageClient) -> None:
        before = classifier.batcher.batch_sizes.total()
        path = await client.upload("photo.png", photos()[0][1])
        await client.ask_image(path)
        await client.ask("click", [file_data(path)])
        await client.ask("select", [], {"index": 0})
        assert classifier.batcher.batch_sizes.total() == before + 3
        classifier.close()
        for reply in (await client.ask_image(path), await client.ask("select", [], {"index": 0})):
            assert reply.text == "Model tiny is shutting down and takes no new requests; ask again in a while."

    on_page(act, classifier)


def test_a_full_queue_is_said(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / "b")
    entered, release = threading.Event(), threading.Event()
    with Classifier.open(path, provider="cpu", threads=1, max_batch=1, max_queue_rows=1) as classifier:
        run = classifier.batcher._runner.run

        class Slow:
            def run(self, inputs):
                entered.set()
                release.wait()
                return run(inputs)

        classifier.batcher._runner = Slow()
        image = np.zeros((1, 8, 8, 1), dtype=np.uint8)
        futures = [classifier.submit({"image": image})]
        entered.wait()
        futures.append(classifier.submit({"image": image}))

        async def act(client: PageClient) -> None:
            reply = await client.ask("select", [], {"index": 0})
            assert reply.text == "The server is busy; try again in 1 s."

        try:
            on_page(act, classifier)
        finally:
            release.set()
        assert all(future.result().batch_size == 1 for future in futures)


def test_nothing_is_offered_to_other_programs_and_nothing_is_told(color: Classifier) -> None:
    async def act(client: PageClient) -> dict:
        assert (await client.http.get("/gradio_api/info")).status_code == 404
        return dict((await client.http.get("/config")).json())

    config = on_page(act, color)
    assert {item["api_visibility"] for item in config["dependencies"]} == {"private"}
    assert config["analytics_enabled"] is False
    assert config["show_error"] is False
    assert "googleapis" not in json.dumps(config)
    assert config["footer_links"] == []


def test_several_bundles_have_a_tab_each_and_a_table_model_says_so(color: Classifier, tmp_path: Path) -> None:
    table = Classifier.open(write_tabular_bundle(tmp_path / "t"), provider="cpu", threads=1)
    grey = Classifier.open(write_tiny_bundle(tmp_path / "g", name="grey"), provider="cpu", threads=1)

    async def act(client: PageClient) -> None:
        text = (await client.http.get("/config")).text
        assert "This model takes no pictures but numbers: send them to <code>/v2/models/tabular/infer</code>." in text
        data = photos()[2][1]
        path = await client.upload("alpha.png", data)
        for position, name in enumerate(("color", "grey")):
            reply = await client.ask_image(path, position=position)
            response = await client.http.post(f"/predict/{name}", content=data)
            assert reply.probabilities == response.json()["probabilities"]

    with table, grey:
        on_page(act, color, table, grey)


def test_the_page_is_built_once_however_many_ask_first(color: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    from serve.page import build

    built = []
    original = build.build_app

    def counting(*args):
        built.append(threading.current_thread() is threading.main_thread())
        return original(*args)

    monkeypatch.setattr(build, "build_app", counting)

    async def act(client: PageClient) -> None:
        responses = await asyncio.gather(*(client.http.get("/") for _ in range(5)))
        assert [response.status_code for response in responses] == [200] * 5
        assert "text/html" in responses[0].headers["content-type"]

    on_page(act, color)
    assert built == [False]


def test_without_gradio_there_is_a_page_that_says_so(color: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "serve.page.build", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)

    async def act(client: PageClient) -> None:
        response = await client.http.get("/")
        assert response.status_code == 503
        assert "The page cannot be shown, because Gradio does not load on this machine" in response.text
        assert (await client.http.post("/predict/color", content=photos()[0][1])).status_code == 200

    on_page(act, color)


def test_a_build_that_fails_is_said_and_tried_again(
    color: Classifier, uploads: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from serve.page import build

    original, failures = build.build_app, [OSError("no space left on device"), RuntimeError("a fault of ours")]

    def failing(*args):
        if failures:
            raise failures.pop()
        return original(*args)

    monkeypatch.setattr(build, "build_app", failing)

    async def act(client: PageClient) -> None:
        for status, left in ((503, 0), (503, 0), (200, 1)):
            response = await client.http.get("/")
            assert response.status_code == status
            assert len(list(uploads.iterdir())) == left
        assert (await client.ask("select", [], {"index": 0})).probabilities is not None

    on_page(act, color)
    logged = [record for record in caplog.records if record.name == "serve.page.lazy"]
    assert [record.getMessage() for record in logged] == [
        "the page cannot be shown, and the next request tries again"
    ] * 2
    assert [str(record.exc_info[1]) for record in logged if record.exc_info] == [
        "a fault of ours",
        "no space left on device",
    ]


def test_a_page_whose_start_fails_can_be_closed(color: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import asynccontextmanager

    from serve.page import build

    original = build.build_app

    @asynccontextmanager
    async def broken(_):
        raise RuntimeError("does not start")
        yield

    def failing(*args):
        host, gate = original(*args)
        host.router.lifespan_context = broken
        return host, gate

    monkeypatch.setattr(build, "build_app", failing)

    async def act(client: PageClient) -> None:
        for _ in range(2):
            response = await client.http.get("/")
            assert response.status_code == 503
            assert "Load this page again to try again" in response.text
            assert "docs" not in response.text

    on_page(act, color)


def test_the_page_can_be_closed_unopened_and_opened_again(color: Classifier) -> None:
    async def go() -> None:
        page = LazyPage({"color": color})
        await page.aclose()
        for _ in range(2):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(page), base_url="http://127.0.0.1") as client:
                assert (await client.get("/config")).status_code == 200
            await page.aclose()

    asyncio.run(go())


def test_a_websocket_is_closed(color: Classifier) -> None:
    sent: list[str] = []

    async def send(message) -> None:
        sent.append(message["type"])

    async def receive():
        return {"type": "websocket.connect"}

    asyncio.run(LazyPage({"color": color})({"type": "websocket"}, receive, send))
    assert sent == ["websocket.close"]


def test_gradio_is_imported_by_the_first_visitor_and_torch_by_nobody() -> None:
    script = (
        "import sys, serve.page.lazy, serve.page.gate\n"
        "assert 'gradio' not in sys.modules, 'gradio'\n"
        "import serve.page.build\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
