"""The HTTP server in process: predictions from images, status codes, caps, and what it never lets through."""

import asyncio
import gzip
import io
import json
import logging
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from serve.body import unpack
from serve.classifier import Classifier
from serve.guard import LOOPBACK_HOSTS, host_name
from serve.http import create_app
from tests.serve.tiny_bundle import (
    LABELS,
    write_house_bundle,
    write_lookup_bundle,
    write_tabular_bundle,
    write_tiny_bundle,
)


@pytest.fixture
def client(tiny: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app({"tiny": tiny}, max_body_bytes=100_000, max_pixels=10_000)) as client:
        yield client


def picture(width: int = 20, height: int = 30, image_format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (250, 120, 10)).save(stream, image_format)
    return stream.getvalue()


def infer_json(*rows: int) -> dict[str, Any]:
    data = [value for value in rows for _ in range(64)]
    return {"inputs": [{"name": "image", "shape": [len(rows), 8, 8, 1], "datatype": "UINT8", "data": data}]}


def sentence(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    message = response.json()["error"]
    assert "\n" not in message
    return str(message)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("content_type", [None, "image/png", "application/x-www-form-urlencoded"])
def test_predict_takes_the_bytes_of_an_image(client, tiny, image_format: str, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = client.post("/predict/tiny", content=picture(image_format=image_format), headers=headers)
    assert response.status_code == 200
    body = response.json()
    image = tiny.prepare(picture(image_format=image_format))
    expected = tiny.submit({"image": image}).result(20).outputs["probabilities"][0]
    assert body["model"] == "tiny"
    assert body["label"] == LABELS[expected.argmax()]
    assert body["probability"] == max(body["probabilities"].values())
    assert list(body["probabilities"].items()) == list(zip(LABELS, expected.tolist(), strict=True))
    assert body["provenance"]["bundle_sha256"] == tiny.manifest.sha256
    assert body["provenance"].keys() == {"bundle_sha256", "provider", "precision", "batch_size", "queue_ms", "run_ms"}
    assert response.headers["facsimile-bundle-sha256"] == tiny.manifest.sha256
    assert response.headers["facsimile-provider"] == "CPUExecutionProvider"
    assert response.headers["facsimile-batch-size"] == "1"


def test_predict_takes_a_form_with_one_file(client) -> None:
    plain = client.post("/predict/tiny", content=picture()).json()
    form = client.post("/predict/tiny", files={"file": ("a.png", picture())}, data={"note": "x"}).json()
    assert form["probabilities"] == plain["probabilities"]
    two = client.post("/predict/tiny", files=[("a", ("a.png", picture())), ("b", ("b.png", picture()))])
    assert "the form cannot be read (Too many files" in sentence(two, 400)
    none = client.post("/predict/tiny", files={"note": (None, "x")})
    assert sentence(none, 400) == "the form has 0 files, but one was expected; send the image as a file"
    headers = {"content-type": "multipart/form-data"}
    broken = client.post("/predict/tiny", content=b"x", headers=headers)
    assert "the form cannot be read (Missing boundary in multipart.)" in sentence(broken, 400)


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        pytest.param(b"", 400, "image has 0 bytes, but an image file was expected", id="empty"),
        pytest.param(b"text", 400, "the 4 bytes are no image in a known format", id="text"),
        pytest.param(picture()[:60], 400, "image cannot be decoded", id="cut"),
        pytest.param(picture(101, 100), 413, "image has 101 x 100 = 10,100 pixels, but at most 10,000", id="pixels"),
        pytest.param(bytes(100_001), 413, "the body has 100,001 bytes, but at most 100,000 are taken", id="bytes"),
    ],
)
def test_predict_refuses(client, content: bytes, status: int, message: str) -> None:
    assert sentence(client.post("/predict/tiny", content=content), status).startswith(message)


def test_images_are_taken_up_to_the_cap(client) -> None:
    assert client.post("/predict/tiny", content=picture(100, 100)).status_code == 200


def test_large_images_go_one_at_a_time_to_the_same_answer(tiny) -> None:
    with TestClient(create_app({"tiny": tiny})) as client:
        response = client.post("/predict/tiny", content=picture(2100, 2100))
    assert response.status_code == 200
    assert response.json()["label"] in LABELS


def test_a_model_of_numbers_takes_no_images(tmp_path: Path) -> None:
    with (
        Classifier.open(write_tabular_bundle(tmp_path / "b"), provider="cpu") as tabular,
        TestClient(create_app({"tabular": tabular})) as client,
    ):
        message = sentence(client.post("/predict/tabular", content=picture()), 400)
    assert message.startswith("model tabular takes no images, but features float32 [batch, 3]")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_bodies(client, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    body = json.dumps(infer_json(1, 2)).encode()
    headers = {"content-encoding": encoding}
    plain = client.post("/v2/models/tiny/infer", content=body).json()["outputs"]
    assert client.post("/v2/models/tiny/infer", content=pack(body), headers=headers).json()["outputs"] == plain
    cut = client.post("/v2/models/tiny/infer", content=pack(body)[:-6], headers=headers)
    assert sentence(cut, 400) == f"the {encoding} body has no end, so it was cut short or damaged; send it again"
    more = client.post("/v2/models/tiny/infer", content=pack(body) + b"x", headers=headers)
    assert "more after its end" in sentence(more, 400)
    wrong = client.post("/v2/models/tiny/infer", content=body, headers=headers)
    assert f"the body is no {encoding}" in sentence(wrong, 400)
    bomb = client.post("/v2/models/tiny/infer", content=pack(bytes(50_000_000)), headers=headers)
    assert sentence(bomb, 413).startswith("the body unpacks to more than 100,000 bytes")


def test_unpacking_at_the_cap() -> None:
    assert unpack(zlib.compress(bytes(100)), "deflate", 100) == bytes(100)
    with pytest.raises(
        ValueError, match="the body unpacks to more than 99 bytes, but at most that are taken; send less"
    ):
        unpack(zlib.compress(bytes(100)), "deflate", 99)


def test_other_encodings_are_refused(client) -> None:
    response = client.post("/v2/models/tiny/infer", content=b"x", headers={"content-encoding": "br"})
    assert sentence(response, 400) == "Content-Encoding is br, but one of identity, gzip, deflate was expected"


def test_the_cap_holds_without_a_content_length(client) -> None:
    def stream(size: int) -> Iterator[bytes]:
        yield from (b"x" * 1000 for _ in range(size // 1000))

    response = client.post("/predict/tiny", content=stream(101_000))
    assert (
        sentence(response, 413)
        == "the body has more than 100,000 bytes, but at most 100,000 are taken; send less at once"
    )
    assert client.post("/predict/tiny", content=stream(100_000)).status_code == 400


def test_all_bodies_together_have_a_cap(tiny) -> None:
    with TestClient(create_app({"tiny": tiny}, max_total_body_bytes=1000)) as client:
        response = client.post("/predict/tiny", content=bytes(1001))
        assert "the requests being answered hold 0 bytes, and at most 1,000 are held at once" in sentence(response, 429)
        assert response.headers["retry-after"] == "1"
        for _ in range(20):  # what is done is given back: together they are more than the cap
            assert client.post("/predict/tiny", content=picture()).status_code == 200


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "9" * 30])
def test_a_broken_header_length(client, value: str) -> None:
    headers = {"Inference-Header-Content-Length": value}
    message = sentence(client.post("/v2/models/tiny/infer", content=b"{}", headers=headers), 400)
    assert message.endswith("but a whole number of bytes was expected")


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "/ is not a path of this server; /v2, /v2/models/NAME/infer and /predict/NAME are"),
        ("GET", "/v2/", 404, "/v2/ is not a path of this server"),
        ("GET", "/v2/models/tiny/nothing", 404, "/v2/models/tiny/nothing is not a path of this server"),
        ("GET", "/v2/models/other", 404, "model other is not served here, but tiny"),
        ("POST", "/v2/models/other/infer", 404, "model other is not served here, but tiny"),
        ("POST", "/predict/other", 404, "model other is not served here, but tiny"),
        ("GET", "/v2/models/tiny/versions/2", 404, "model tiny has no version 2, but version 1 only"),
        ("GET", "/predict/tiny", 405, "GET is not allowed on /predict/tiny; use POST"),
        ("GET", "/v2/models/tiny/infer", 405, "GET is not allowed on /v2/models/tiny/infer; use POST"),
        ("PUT", "/v2", 405, "PUT is not allowed on /v2; use "),
        ("GET", "/v2/models/tiny/stats", 501, "GET /v2/models/tiny/stats is not offered by this server"),
        ("POST", "/v2/repository/models/tiny/load", 501, "POST /v2/repository/models/tiny/load is not offered"),
    ],
)
def test_paths_and_methods(client, method: str, path: str, status: int, message: str) -> None:
    assert sentence(client.request(method, path), status).startswith(message)


def test_health(client, tiny) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready"):
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in response.headers


def test_draining_is_not_ready(tiny) -> None:
    with TestClient(create_app({"tiny": tiny}, draining=lambda: True)) as client:
        assert client.get("/v2/health/live").status_code == 200
        for path in ("/v2/health/ready", "/v2/models/tiny/ready"):
            assert sentence(client.get(path), 503).startswith("the server is shutting down and takes no new requests")


def test_a_model_that_is_not_ready_says_why(tmp_path: Path) -> None:
    with (
        Classifier.open(write_tiny_bundle(tmp_path / "b", perturbed=0.01), provider="cpu") as broken,
        TestClient(create_app({"tiny": broken})) as client,
    ):
        for response in (
            client.get("/v2/health/ready"),
            client.get("/v2/models/tiny/ready"),
            client.post("/predict/tiny", content=picture()),
            client.post("/v2/models/tiny/infer", json=infer_json(1)),
        ):
            assert "does not reproduce its golden outputs" in sentence(response, 503)
        assert client.post("/v2/repository/index").json()[0]["state"] == "UNAVAILABLE"


def test_a_model_fault_is_500_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Classifier.open(write_lookup_bundle(tmp_path / "b"), provider="cpu") as lookup,
        TestClient(create_app({"lookup": lookup})) as client,
    ):
        tensor = {"name": "index", "shape": [1, 1], "datatype": "INT64", "data": [5]}
        with caplog.at_level(logging.ERROR):
            response = client.post("/v2/models/lookup/infer", json={"inputs": [tensor]})
        assert "the graph failed on this request" in sentence(response, 500)
        assert "/v2/models/lookup/infer failed" in caplog.text
        assert client.post("/v2/models/lookup/infer", json={"inputs": [tensor | {"data": [4]}]}).status_code == 200


class Held:
    """A runner that waits until it is let go."""

    def __init__(self) -> None:
        self.entered, self.gate = threading.Event(), threading.Event()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.entered.set()
        assert self.gate.wait(20)
        rows = len(inputs["image"])
        return {name: np.zeros((rows, 4), dtype=np.float32) for name in ("logits", "probabilities")}

    def limited(self, seconds: float) -> "Held":  # noqa: ARG002 - it ends when it is let go
        return self


def test_a_full_queue_is_429_at_once_and_a_late_request_504(tiny: Classifier) -> None:
    held = Held()
    held.gate.set()
    classifier = Classifier(
        bundle=tiny.bundle,
        golden=tiny.golden(),
        runner=held,
        provider="CPUExecutionProvider",
        provider_reason="",
        precision="float32",
        max_queue_rows=2,
    )
    classifier.reason = None  # zeros are no golden outputs, and not the subject here
    held.gate.clear()
    held.entered.clear()
    with classifier, TestClient(create_app({"tiny": classifier})) as client:
        statuses: list[int] = []

        def ask(document: dict[str, Any]) -> None:
            statuses.append(client.post("/v2/models/tiny/infer", json=document).status_code)

        running = threading.Thread(target=ask, args=(infer_json(1),))
        running.start()
        assert held.entered.wait(20)
        late = threading.Thread(target=ask, args=(infer_json(1) | {"parameters": {"timeout": 1}},))
        late.start()
        while classifier.batcher.queued_rows < 1:
            late.join(0.001)
        waiting = classifier.submit({"image": np.zeros((1, 8, 8, 1), np.uint8)})
        response = client.post("/v2/models/tiny/infer", json=infer_json(1))
        assert sentence(response, 429).startswith(
            "the queue holds 2 rows and this request has 1, but at most 2 may wait"
        )
        assert int(response.headers["retry-after"]) >= 1
        held.gate.set()
        running.join(20)
        late.join(20)
        assert sorted(statuses) == [200, 504]
        assert waiting.result(20).batch_size == 1
        assert sentence(client.post("/v2/models/tiny/infer", json=infer_json(1, 2, 3)), 413).startswith(
            "the request has 3"
        )


def test_a_crash_is_500_with_a_sentence_and_no_traceback_for_the_client(tiny) -> None:
    class Broken:
        async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
            raise KeyError("secret")

        async def aclose(self) -> None:
            pass

    with TestClient(create_app({"tiny": tiny}, page=Broken()), raise_server_exceptions=False) as client:
        assert sentence(client.get("/x"), 500) == "the server failed on GET /x; its log says why"


def test_the_page_gets_what_is_not_the_apis(tiny) -> None:
    class Page:
        closed = False

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse(f"page {scope['path']}")(scope, receive, send)

        async def aclose(self) -> None:
            self.closed = True

    page = Page()
    with TestClient(create_app({"tiny": tiny}, page=page)) as client:
        assert client.get("/").text == "page /"
        assert client.get("/assets/x.js").text == "page /assets/x.js"
        assert sentence(client.get("/v2/nothing"), 404)
        assert sentence(client.get("/predict/tiny"), 405)
        assert client.get("/v2").json()["name"] == "facsimile"
    assert page.closed


def test_a_page_that_fails_to_close_leaves_no_thread_behind(tiny) -> None:
    class Failing:
        async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None: ...

        async def aclose(self) -> None:
            raise RuntimeError("the page does not close")

    before = set(threading.enumerate())
    client = TestClient(create_app({"tiny": tiny}, page=Failing()))
    client.__enter__()
    assert client.post("/predict/tiny", content=picture(10, 10)).status_code == 200
    assert any(thread.name.startswith("worker") for thread in threading.enumerate() if thread not in before)
    with pytest.raises(RuntimeError, match="the page does not close"):
        client.__exit__(None, None, None)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
    ],
)
def test_a_local_server_answers_under_its_own_names_only(tiny, host: str, status: int) -> None:
    with TestClient(create_app({"tiny": tiny}, hosts=LOOPBACK_HOSTS)) as client:
        response = client.get("/v2", headers={"host": host})
        assert response.status_code == status
        if status == 403:
            assert f"Host is {host}, but this server answers as 127.0.0.1, ::1, localhost only" in sentence(
                response, 403
            )


def test_host_names() -> None:
    assert [host_name(host) for host in ("A.b:1", "[::1]", "[::1]:8", "x")] == ["a.b", "::1", "::1", "x"]


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-origin", 200), ("none", 200), (None, 200)])
def test_a_foreign_page_cannot_post(client, site: str | None, status: int) -> None:
    headers = {} if site is None else {"sec-fetch-site": site}
    assert client.post("/predict/tiny", content=picture(), headers=headers).status_code == status
    assert client.get("/v2", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("models.lan:8000", "http://models.lan:8000", 200),
        ("Models.lan:8000", "http://models.LAN:8000", 200),
        ("models.lan", "https://models.lan", 200),
        ("models.lan", "https://models.lan:8443", 200),
        ("[fd00::1]:8000", "http://[fd00::1]:8000", 200),
        ("models.lan:8000", None, 200),
        ("models.lan:8000", "http://evil.example", 403),
        ("models.lan", "http://models.lan.evil.example", 403),
        ("models.lan", "null", 403),
        ("models.lan", "", 403),
    ],
)
def test_a_foreign_origin_cannot_post_where_browsers_do_not_mark_it(
    client, host: str, origin: str | None, status: int
) -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    response = client.post("/predict/tiny", content=picture(), headers=headers)
    assert response.status_code == status
    if status == 403:
        assert sentence(response, 403) == (
            f"Origin is {origin}, but the request was sent to {host}, and only this server's own pages may send any; "
            "a proxy must pass the Host header on"
        )
    assert client.get("/v2", headers=headers).status_code == 200


def test_a_silent_client_gives_its_memory_back(tiny: Classifier) -> None:
    body = picture()
    app = create_app({"tiny": tiny}, max_total_body_bytes=len(body), receive_s=0.05)

    async def post(*chunks: bytes) -> tuple[int, dict[str, Any], list[tuple[bytes, bytes]]]:
        coming = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        sent: list[Any] = []

        async def receive() -> Any:
            if coming:
                return coming.pop(0)
            return await asyncio.Future()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict/tiny",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }
        await app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"]), sent[0]["headers"]

    async def all_in_turn() -> None:
        for chunks in ((), (body,)):
            status, answer, headers = await post(*chunks)
            assert status == 408
            assert answer == {"error": "the body did not come in full within 0.05 s; send it again, or less at once"}
            assert (b"connection", b"close") in headers

    asyncio.run(all_in_turn())
    with TestClient(app) as client:
        assert client.post("/predict/tiny", content=body).status_code == 200


def test_a_bomb_is_unpacked_beside_the_event_loop(tiny: Classifier) -> None:
    threads = set()

    def noting(body: bytes, encoding: str, max_bytes: int) -> bytes:
        threads.add(threading.current_thread().name)
        return unpack(body, encoding, max_bytes)

    with pytest.MonkeyPatch.context() as patch, TestClient(create_app({"tiny": tiny})) as client:
        patch.setattr("serve.body.unpack", noting)
        packed = gzip.compress(json.dumps(infer_json(1)).encode())
        headers = {"content-encoding": "gzip"}
        assert client.post("/v2/models/tiny/infer", content=packed, headers=headers).status_code == 200
    assert threads
    assert all(name.startswith("worker") for name in threads)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Classifier]:
    with Classifier.open(write_house_bundle(tmp_path / "house"), provider="cpu", threads=1, max_queue_rows=3) as opened:
        yield opened


@pytest.fixture
def house_client(house: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app({"house": house})) as client:
        yield client


def test_a_model_of_tables_names_its_columns(house: Classifier, house_client: TestClient) -> None:
    parameters = house_client.get("/v2/models/house").json()["parameters"]
    assert [feature["name"] for feature in parameters["features"]] == [f.name for f in house.manifest.features]
    assert {"name": "alley", "categories": ["Gravel", "Pave"], "optional": True} in parameters["features"]


def test_predict_takes_a_row_rows_and_csv(house: Classifier, house_client: TestClient) -> None:
    features = np.array([[3, 1, 0.5], [np.nan, np.nan, 2]], dtype=np.float32)
    expected = house.submit({"features": features}).result(20).outputs["prediction"][:, 0].tolist()
    rows = [{"rooms": 3, "alley": "Pave", "area": 0.5}, {"rooms": None, "area": 2}]
    single = house_client.post("/predict/house", json=rows[0]).json()
    assert single["prediction"] == {"price": expected[0]}
    assert single["model"] == "house"
    assert single["provenance"]["bundle_sha256"] == house.manifest.sha256
    both = house_client.post("/predict/house", json=rows).json()
    assert both.keys() == {"model", "predictions", "provenance"}
    assert both["predictions"] == [{"prediction": {"price": value}} for value in expected]
    text = "note,area,rooms,alley\r\nx,0.5,3,Pave\r\ny,2,NA,\r\n"
    response = house_client.post("/predict/house", content=text, headers={"content-type": "text/csv; charset=utf-8"})
    assert response.json()["predictions"] == both["predictions"]
    assert response.headers["facsimile-batch-size"] == "2"


@pytest.mark.parametrize("task", ["classification", "binary-classification"])
def test_predict_of_a_table_gives_labels(tmp_path: Path, task: Any) -> None:
    with (
        Classifier.open(write_house_bundle(tmp_path / "b", task=task), provider="cpu", threads=1) as classifier,
        TestClient(create_app({"house": classifier})) as client,
    ):
        found = client.post("/predict/house", json=[{"area": 1.5}]).json()["predictions"][0]
        row = np.array([[np.nan, np.nan, 1.5]], dtype=np.float32)
        outputs = classifier.submit({"features": row}).result(20).outputs["probabilities"][0].tolist()
    values = outputs if task == "classification" else [1 - outputs[0], outputs[0]]
    assert found["probabilities"] == dict(zip(classifier.manifest.labels, values, strict=True))
    assert found["label"] == max(found["probabilities"], key=found["probabilities"].__getitem__)
    assert found["probability"] == max(values)


@pytest.mark.parametrize(
    ("content", "kind", "status", "message"),
    [
        pytest.param("", "", 400, "the body is no table (Input data was truncated), but", id="empty"),
        pytest.param("[1]", "", 400, "the body is no table (Expected `object`, got `int` - at `$[0]`)", id="number"),
        pytest.param("[]", "", 400, "the table has no rows, but at least 1 was expected", id="no rows"),
        pytest.param("[" + ",".join(["{}"] * 4) + "]", "", 413, "the table has 4 rows, but at most 3", id="rows"),
        pytest.param(
            '[{"area": 1}, {"area": "wide"}]',
            "",
            400,
            "row 2, column 'area' has 'wide', but a number was expected",
            id="cell",
        ),
        pytest.param("area,rooms,alley\n", "text/csv", 400, "the CSV has 1 lines, but a heading and", id="heading"),
        pytest.param(
            "area,rooms\n1,2\n", "text/csv", 400, "the table has no column 'alley', but area, rooms", id="csv"
        ),
        pytest.param(
            "area,rooms,alley\n1,2\n", "text/csv", 400, "row 1 has 2 cells, but the heading has 3", id="short"
        ),
        pytest.param('a\n"x"y\n', "text/csv", 400, "the body is no CSV in UTF-8 (", id="quotes"),
        pytest.param(
            "area,rooms,alley\n" + "1,2,Pave\n" * 4, "text/csv", 413, "the table has 4 rows, but at most 3", id="long"
        ),
        pytest.param(
            " " * ((1 << 20) + 1), "", 413, "the table has 1,048,577 bytes, but at most 1,048,576", id="bytes"
        ),
    ],
)
def test_predict_refuses_tables(house_client: TestClient, content: str, kind: str, status: int, message: str) -> None:
    headers = {"content-type": kind} if kind else {}
    assert sentence(house_client.post("/predict/house", content=content, headers=headers), status).startswith(message)
