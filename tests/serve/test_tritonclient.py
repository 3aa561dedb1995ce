"""The unmodified Triton client against a real server, over a real socket."""

import socket
import threading
from collections.abc import Iterator

import numpy as np
import onnxruntime as ort
import pytest
import uvicorn

from serve.classifier import Classifier
from serve.http import create_app
from tests.serve.tiny_bundle import LABELS, write_tabular_bundle, write_tiny_bundle

# gevent and geventhttpclient warn while they are imported, of their own packaging
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Classifier]]:
    folder = tmp_path_factory.mktemp("triton")
    paths = [
        write_tiny_bundle(folder / "tiny"),
        write_tabular_bundle(folder / "tabular"),
        write_tiny_bundle(folder / "broken", name="broken", perturbed=0.01),
    ]
    opened = [Classifier.open(path, provider="cpu", threads=1) for path in paths]
    yield {classifier.name: classifier for classifier in opened}
    for classifier in opened:
        classifier.close()


@pytest.fixture(scope="module")
def address(classifiers: dict[str, Classifier]) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = create_app(classifiers, max_body_bytes=1 << 20)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        started = threading.Event()
        startup = server.startup

        async def tell(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets)
            started.set()

        server.startup = tell  # type: ignore[method-assign]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert started.wait(20)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def client(address: str) -> Iterator["http.InferenceServerClient"]:  # noqa: F821
    import tritonclient.http as http

    with http.InferenceServerClient(address) as client:
        yield client


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)


@pytest.fixture
def expected(classifiers: dict[str, Classifier], images: np.ndarray) -> dict[str, np.ndarray]:
    graph = (classifiers["tiny"].bundle.path / "graph.onnx").read_bytes()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = ["logits", "probabilities"]
    return dict(zip(names, session.run(names, {"image": images}), strict=True))


def image_input(images: np.ndarray, *, binary: bool):
    import tritonclient.http as http

    tensor = http.InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return tensor


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_outputs_have_the_bits_of_session_run(client, images, expected, binary: bool, compression: str | None) -> None:
    import tritonclient.http as http

    outputs = [http.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "logits")]
    result = client.infer(
        "tiny",
        [image_input(images, binary=binary)],
        outputs=outputs,
        request_id="r1",
        priority=1,
        timeout=60_000_000,
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    for name, values in expected.items():
        found = result.as_numpy(name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values)
    response = result.get_response()
    assert response["id"] == "r1"
    assert [output["name"] for output in response["outputs"]] == ["probabilities", "logits"]
    assert response["parameters"]["provider"] == "CPUExecutionProvider"


def test_without_named_outputs_all_come(client, images, expected) -> None:
    result = client.infer("tiny", [image_input(images, binary=True)], model_version="1")
    for name, values in expected.items():
        np.testing.assert_array_equal(result.as_numpy(name), values)


def test_floats_as_json_come_back_with_the_same_bits(client, classifiers) -> None:
    import tritonclient.http as http

    features = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    tensor = http.InferInput("features", [4, 3], "FP32")
    tensor.set_data_from_numpy(features, binary_data=False)
    found = client.infer("tabular", [tensor]).as_numpy("prediction")
    expected = classifiers["tabular"].submit({"features": features}).result(20).outputs["prediction"]
    np.testing.assert_array_equal(found, expected)


def test_classification(client, images, expected) -> None:
    import tritonclient.http as http

    outputs = [http.InferRequestedOutput("probabilities", class_count=2)]
    found = client.infer("tiny", [image_input(images, binary=True)], outputs=outputs).as_numpy("probabilities")
    assert found.shape == (5, 2)
    best = expected["probabilities"].argmax(axis=1)
    for entry, row, index in zip(found[:, 0], expected["probabilities"], best, strict=True):
        assert entry.decode() == f"{row[index]:f}:{index}:{LABELS[index]}"


def test_health_and_metadata(client) -> None:
    assert client.is_server_live()
    assert not client.is_server_ready()  # one of the models does not reproduce its golden outputs
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("broken")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["name"] == "facsimile"
    metadata = client.get_model_metadata("tiny")
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
    assert client.get_model_config("tiny")["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": [8, 8, 1]}]
    states = {model["name"]: model["state"] for model in client.get_model_repository_index()}
    assert states == {"tiny": "READY", "tabular": "READY", "broken": "UNAVAILABLE"}


def test_errors_reach_the_client_as_sentences(client, images) -> None:
    from tritonclient.utils import InferenceServerException

    def failing(model: str, pixels: np.ndarray) -> InferenceServerException:
        with pytest.raises(InferenceServerException) as caught:
            client.infer(model, [image_input(pixels, binary=True)])
        return caught.value

    error = failing("tiny", images[:, :7])
    assert (error.status(), error.message()) == (
        "400",
        "input image has shape [5, 7, 8, 1], but model tiny takes [batch, 8, 8, 1], "
        "each dimension at least 1 and named ones equal among inputs",
    )
    error = failing("nothing", images)
    assert (error.status(), error.message()) == ("404", "model nothing is not served here, but tiny, tabular, broken")
    error = failing("broken", images)
    assert error.status() == "503"
    assert "model broken does not reproduce its golden outputs on this machine" in error.message()
    error = failing("tiny", np.zeros((20_000, 8, 8, 1), dtype=np.uint8))
    assert (error.status(), error.message()) == (
        "413",
        "the body has 1,280,153 bytes, but at most 1,048,576 are taken; send less at once",
    )


@pytest.mark.parametrize("call", ["load_model", "unload_model", "get_inference_statistics", "get_trace_settings"])
def test_what_is_not_offered_says_so(client, call: str) -> None:
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match="is not offered by this server"):
        getattr(client, call)("tiny")


def test_shared_memory_and_logging_are_not_offered(client) -> None:
    from tritonclient.utils import InferenceServerException

    for call in (client.get_system_shared_memory_status, client.get_cuda_shared_memory_status, client.get_log_settings):
        with pytest.raises(InferenceServerException, match="is not offered by this server"):
            call()


def test_many_clients_at_once_each_get_their_own(address: str, classifiers: dict[str, Classifier]) -> None:
    import urllib.request

    images = np.random.default_rng(9).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    expected = classifiers["tiny"].submit({"image": images}).result(20).outputs["logits"]
    found: dict[int, np.ndarray] = {}

    def ask(row: int) -> None:
        request = urllib.request.Request(
            f"http://{address}/v2/models/tiny/infer",
            data=images[row].tobytes(),
            headers={"Inference-Header-Content-Length": "0"},
        )
        with urllib.request.urlopen(request) as response:
            body, length = response.read(), int(response.headers["Inference-Header-Content-Length"])
        found[row] = np.frombuffer(body[length : length + 16], dtype=np.float32)

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    np.testing.assert_array_equal(np.stack([found[row] for row in range(40)]), expected)
