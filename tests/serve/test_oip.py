"""The Open Inference Protocol as bytes: every rule of the wire, and one sentence for each breach."""

import contextlib
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from serve.answer import RequestError, TooLargeError
from serve.bundle import Manifest, Provenance, TensorSpec
from serve.oip import decode_request
from serve.oip_response import InferRequest, RequestedOutput, encode_response


def make_manifest(*inputs: TensorSpec) -> Manifest:
    return Manifest(
        schema_version=1,
        sha256="0" * 64,
        name="m",
        task="classification",
        labels=("cat", "dog", "eel"),
        inputs=inputs,
        outputs=(
            TensorSpec(name="logits", dtype="float32", shape=("batch", 3)),
            TensorSpec(name="probabilities", dtype="float32", shape=("batch", 3)),
        ),
        preprocessing=None,
        files=(),
        provenance=Provenance(
            recipe=None,
            factory="",
            factory_args={},
            mean=(),
            std=(),
            seed=None,
            dataset="",
            dataset_sha256="",
            device="cpu",
            versions={},
            source_revision=None,
        ),
    )


DTYPES = {"uint8": "UINT8", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64"}
FLOATS = make_manifest(TensorSpec(name="x", dtype="float32", shape=("batch", 2)))
PAIR = make_manifest(
    TensorSpec(name="a", dtype="uint8", shape=("batch", 3)),
    TensorSpec(name="b", dtype="float32", shape=("batch", "width")),
)


def head(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2.5, -3, 4]} | changes]}


def decode(document: object, manifest: Manifest = FLOATS, **options: Any) -> InferRequest:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decode_request(body, **{"header_length": None, "manifest": manifest, "max_rows": 8} | options)


@pytest.mark.parametrize("data", [[1, 2.5, -3, 4], [[1, 2.5], [-3, 4]]], ids=["flat", "nested"])
def test_json_data_flat_and_nested(data: object) -> None:
    request = decode(head(data=data) | {"id": "7", "parameters": {"priority": 3, "sequence_id": "s"}})
    np.testing.assert_array_equal(request.inputs["x"], np.array([[1, 2.5], [-3, 4]], dtype=np.float32))
    assert request.inputs["x"].dtype == np.float32
    assert request.id == "7"
    assert request.deadline_s is None
    assert request.outputs == (
        RequestedOutput(name="logits", binary=False),
        RequestedOutput(name="probabilities", binary=False),
    )


def test_nan_and_infinity_in_json() -> None:
    request = decode(head(data=[float("nan"), float("inf"), float("-inf"), 0]))
    np.testing.assert_array_equal(request.inputs["x"], np.array([[np.nan, np.inf], [-np.inf, 0]], dtype=np.float32))
    with pytest.raises(RequestError, match="the request is not valid: "):
        decode(b'{"inputs": [NaN')
    with pytest.raises(RequestError, match="the request is not valid: "):
        decode(b'[NaN, {"inputs"')


def test_nan_in_a_string_is_a_string() -> None:
    document = json.dumps(head(data=[float("nan"), -float("inf"), 1, 2]) | {"id": 'NaN, "-Infinity" \\'}).encode()
    request = decode(document)
    assert request.id == 'NaN, "-Infinity" \\'
    np.testing.assert_array_equal(request.inputs["x"], np.array([[np.nan, -np.inf], [1, 2]], dtype=np.float32))


@pytest.mark.parametrize("word", ["N", "I", "-I"])
def test_what_stands_for_nan_within_is_nothing_that_a_client_can_send(word: str) -> None:
    for first in (0, float("nan")):
        document = json.dumps(head(data=[first, "?", 1, 2])).encode()
        with pytest.raises(RequestError, match="the request has a string that starts with a delete character"):
            decode(document.replace(b"?", b"\x7f" + word.encode()))
        with pytest.raises(RequestError, match=r"data that is no FP32 \[2, 2\]: Expected `float`, got `str`"):
            decode(document.replace(b"?", b"\\u007f" + word.encode()))


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(head() | {"parameters": {"a": [[]] * 2_000_000}}, id="parameters"),
        pytest.param(head(parameters={"a": [[]] * 2_000_000}), id="input-parameters"),
        pytest.param(head() | {"outputs": [{"name": "logits", "parameters": {"a": [[]] * 2_000_000}}]}, id="outputs"),
        pytest.param(head() | {"outputs": [{"name": "logits"}] * 500_000}, id="many-outputs"),
        pytest.param(head(shape=[1] * 2_000_000), id="shape"),
        pytest.param(head(data=[float("nan")] * 2_000_000), id="nan"),
        pytest.param(head(data=[float("nan"), *[""] * 2_000_000]), id="strings"),
        pytest.param(head() | {"a": [float("nan"), *[[]] * 2_000_000]}, id="unknown-field"),
    ],
)
def test_a_request_takes_little_more_memory_than_its_bytes(document: object) -> None:
    body = json.dumps(document).encode()
    tracemalloc.start()
    try:
        with contextlib.suppress(RequestError):
            decode(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(body)


@pytest.mark.parametrize(("size", "fits"), [(64 << 10, True), ((64 << 10) + 1, False)])
def test_parameters_have_a_largest_size(size: int, fits: bool) -> None:
    document = json.dumps(head()).encode()[:-1] + b', "parameters": {"a": "' + b"x" * (size - 9) + b'"}}'
    if fits:
        assert decode(document).inputs
    else:
        with pytest.raises(RequestError, match="the request has parameters of 65,537 bytes, but at most 65,536 are"):
            decode(document)


def test_a_timeout_beyond_all_numbers() -> None:
    assert decode(head() | {"parameters": {"timeout": 2**63 - 1}}).deadline_s == (2**63 - 1) / 1e6
    for timeout in (2**63, 10**400):
        with pytest.raises(
            RequestError, match=r"parameter timeout \d+…?, but at most 9223372036854775807 was expected"
        ):
            decode(head() | {"parameters": {"timeout": timeout}})
    with pytest.raises(RequestError, match="has parameters that cannot be read: Integer value out of range"):
        decode(json.dumps(head()).encode()[:-1] + b', "parameters": {"timeout": 1' + b"0" * 5000 + b"}}")


def test_half_a_surrogate_pair_is_no_text() -> None:
    for data in ([1, 2, 3, 4], [float("nan"), 2, 3, 4]):
        with pytest.raises(RequestError, match="the request is not valid: "):
            decode(head(data=data) | {"id": "\ud800"})


def test_a_timeout_in_microseconds_is_the_deadline() -> None:
    assert decode(head() | {"parameters": {"timeout": 5000}}).deadline_s == 0.005
    assert decode(head() | {"parameters": {"timeout": 0}}).deadline_s is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_tensors_of_every_dtype(dtype: Any) -> None:
    values = np.array([[0, 1], [2, 100]], dtype=dtype)
    manifest = make_manifest(TensorSpec(name="x", dtype=dtype, shape=("batch", 2)))
    for padding in ("", " ", "  ", "   "):  # a tensor starts wherever the JSON ends, out of line or not
        text = (
            json.dumps(head(datatype=DTYPES[dtype], parameters={"binary_data_size": values.nbytes}, data=[])) + padding
        )
        document = text.replace(', "data": []', "").encode()
        found = decode(document + values.tobytes(), manifest, header_length=len(document)).inputs["x"]
        np.testing.assert_array_equal(found, values)
        assert found.dtype == dtype
        assert found.flags.aligned


def test_two_binary_tensors_and_one_shared_dimension() -> None:
    a, b = np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(10, dtype=np.float32).reshape(2, 5)
    document = json.dumps(
        {
            "inputs": [
                {"name": "b", "shape": [2, 5], "datatype": "FP32", "parameters": {"binary_data_size": 40}},
                {"name": "a", "shape": [2, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 6}},
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    request = decode(document + b.tobytes() + a.tobytes(), PAIR, header_length=len(document))
    np.testing.assert_array_equal(request.inputs["a"], a)
    np.testing.assert_array_equal(request.inputs["b"], b)
    assert all(output.binary for output in request.outputs)


def test_raw_mode() -> None:
    request = decode(np.array([[1, 2], [3, 4]], dtype=np.float32).tobytes(), header_length=0)
    assert request.inputs["x"].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(
        RequestError, match=r"the body has 7 bytes, but input x is float32 \[batch, 2\] of 8 bytes a row; send"
    ):
        decode(b"1234567", header_length=0)
    with pytest.raises(RequestError, match="the body has 0 bytes, but input x"):
        decode(b"", header_length=0)
    with pytest.raises(
        RequestError, match="the shapes model m takes cannot be told from a bare tensor; send the JSON too"
    ):
        decode(b"1234567", PAIR, header_length=0)
    with pytest.raises(TooLargeError, match="the request has 9 rows, but at most 8 are taken at once; split it"):
        decode(bytes(72), header_length=0)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param(b"", "the request is not valid: ", id="empty"),
        pytest.param(b"{", "the request is not valid: ", id="cut"),
        pytest.param(b"[]", "the request is not valid: Expected `object`, got `array`", id="array"),
        pytest.param(b"\xff", "the request is not valid: ", id="no-utf8"),
        pytest.param(b"[" * 100_000, "the request is not valid: ", id="deep"),
        pytest.param({}, "missing required field `inputs`", id="no-inputs-field"),
        pytest.param({"inputs": []}, r"inputs are none, but model m takes x float32 \[batch, 2\]", id="no-inputs"),
        pytest.param(head(name="y"), "inputs are y, but model m takes x float32", id="name"),
        pytest.param(
            {"inputs": head()["inputs"] * 2}, "inputs are x, x, but each may stand there once only", id="twice"
        ),
        pytest.param(head(datatype="FP64"), "input x has dtype float64, but model m takes float32", id="datatype"),
        pytest.param(head(datatype="INT32"), "input x has dtype INT32, but model m takes float32", id="other-datatype"),
        pytest.param(head(datatype="BYTES"), "input x has dtype BYTES, but model m takes float32", id="bytes"),
        pytest.param(head(shape=[4]), r"input x has shape \[4\], but model m takes \[batch, 2\]", id="rank"),
        pytest.param(head(shape=[4, 1]), r"input x has shape \[4, 1\], but model m takes", id="shape"),
        pytest.param(head(shape=[0, 2], data=[]), r"input x has shape \[0, 2\], but model m takes", id="zero"),
        pytest.param(head(shape=[-2, 2]), r"input x has shape \[-2, 2\], but model m takes", id="negative"),
        pytest.param(head(shape=[1.5, 2]), "Expected `int`, got `float`", id="broken-shape"),
        pytest.param(head(data=[1, 2, 3]), r"input x has 3 values in data, but shape \[2, 2\] takes 4", id="few"),
        pytest.param(head(data=[1, 2, 3, 4, 5]), "input x has 5 values in data, but shape", id="many"),
        pytest.param(head(data=[]), "input x has 1 values in data|input x has data that is no", id="none"),
        pytest.param(head(data=[1, 2, 3, "4"]), "data that is no FP32 .*Expected `float`, got `str`", id="text"),
        pytest.param(head(data=[1, 2, 3, True]), "data that is no FP32 .*Expected `float`, got `bool`", id="bool"),
        pytest.param(head(data=[1, 2, 3, None]), "data that is no FP32 .*Expected `float`, got `null`", id="null"),
        pytest.param(head(data=[[1, 2, 3], [4]]), "data that is no FP32 .*inhomogeneous", id="ragged"),
        pytest.param(
            head(data=[[1], [2], [3], [4]]), r"data of shape \[4, 1\], but shape says \[2, 2\]", id="nested-other"
        ),
        pytest.param(head(data=[1, 2, 3, 1e39]), "data that is no FP32 .*overflow encountered in cast", id="overflow"),
        pytest.param(head(data="abcd"), "input x has", id="string"),
        pytest.param(
            {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32"}]},
            "input x has neither data nor binary_data_size, but one of them was expected",
            id="no-data",
        ),
        pytest.param(
            head(parameters={"binary_data_size": 16}), "input x has both data and binary_data_size, but one", id="both"
        ),
        pytest.param(
            head() | {"outputs": [{"name": "z"}]}, "output z is asked for, but model m has logits, prob", id="output"
        ),
        pytest.param(
            head() | {"outputs": [{"name": "logits"}] * 2}, "output logits is asked for twice", id="output-twice"
        ),
        pytest.param(
            head() | {"outputs": [{"name": "logits", "parameters": {"binary_data": 1}}]},
            "output logits has parameter binary_data 1, but true or false was expected",
            id="binary-data",
        ),
        pytest.param(
            head() | {"outputs": [{"name": "logits", "parameters": {"classification": -1}}]},
            "output logits has parameter classification -1, but a whole number of at least 0 was expected",
            id="classification",
        ),
        pytest.param(
            head() | {"parameters": {"timeout": "soon"}},
            "the request has parameter timeout 'soon', but a whole",
            id="timeout",
        ),
        pytest.param(
            head() | {"parameters": {"timeout": True}}, "parameter timeout True, but a whole number", id="true"
        ),
    ],
)
def test_a_breach_is_one_sentence(document: object, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        decode(document)
    assert "\n" not in str(caught.value)


def binary_document(size: object) -> bytes:
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize(
    ("size", "sent", "message"),
    [
        (15, 15, r"input x has binary_data_size 15, but FP32 \[2, 2\] takes 16"),
        (16, 15, "input x needs 16 bytes, but 15 are left in the body; it was cut short"),
        (16, 17, "the body has 1 bytes after its last tensor, but none were expected"),
        (-1, 16, "input x has parameter binary_data_size -1, but a whole number of at least 0 was expected"),
        ("16", 16, "input x has parameter binary_data_size '16', but a whole number"),
    ],
)
def test_sizes_of_binary_tensors_are_exact(size: object, sent: int, message: str) -> None:
    document = binary_document(size)
    with pytest.raises(RequestError, match=message):
        decode(document + bytes(sent), header_length=len(document))


def test_the_header_lies_inside_the_body() -> None:
    document = binary_document(16)
    with pytest.raises(
        RequestError, match=r"Inference-Header-Content-Length is 9000, but the body has .* bytes; send the len"
    ):
        decode(document, header_length=9000)


def test_the_cap_on_rows_from_both_sides() -> None:
    assert decode(head(shape=[8, 2], data=[0] * 16)).inputs["x"].shape == (8, 2)
    with pytest.raises(TooLargeError, match="the request has 9 rows, but at most 8"):
        decode(head(shape=[9, 2], data=[0] * 18))


OUTPUTS = {
    "logits": np.array([[1, 3, 2], [0.1, 0.2, 1e-7]], dtype=np.float32),
    "probabilities": np.array([[0.5, 0.25, 0.25], [0, 1, 0]], dtype=np.float32),
}


def answer(*outputs: RequestedOutput, request_id: str | None = None, **values: np.ndarray) -> tuple[Any, bytes]:
    request = InferRequest(id=request_id, inputs={}, outputs=outputs, deadline_s=None)
    body, length = encode_response(request, OUTPUTS | values, manifest=FLOATS, parameters={"provider": "p"})
    return json.loads(body[:length]), b"" if length is None else body[length:]


def test_json_answers_keep_every_bit() -> None:
    found, rest = answer(RequestedOutput(name="logits", binary=False), request_id="r")
    assert (found["id"], found["model_name"], found["model_version"]) == ("r", "m", "1")
    assert found["parameters"] == {"provider": "p"}
    (output,) = found["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [2, 3])
    assert np.array_equal(np.array(output["data"], dtype=np.float32), OUTPUTS["logits"].ravel())
    assert rest == b""


def test_binary_answers_follow_in_order() -> None:
    found, rest = answer(
        RequestedOutput(name="probabilities", binary=True),
        RequestedOutput(name="logits", binary=True),
    )
    assert "id" not in found
    assert [output["parameters"] for output in found["outputs"]] == [{"binary_data_size": 24}] * 2
    assert rest == OUTPUTS["probabilities"].tobytes() + OUTPUTS["logits"].tobytes()


def test_classes_best_first_with_labels() -> None:
    found, _ = answer(RequestedOutput(name="logits", binary=False, classes=2))
    assert found["outputs"][0] == {
        "name": "logits",
        "datatype": "BYTES",
        "shape": [2, 2],
        "data": ["3.000000:1:dog", "2.000000:2:eel", "0.200000:1:dog", "0.100000:0:cat"],
    }
    found, rest = answer(RequestedOutput(name="logits", binary=True, classes=9))
    assert found["outputs"][0]["shape"] == [2, 3]
    assert rest.startswith(b"\x0e\0\0\0" + b"3.000000:1:dog")
    assert found["outputs"][0]["parameters"]["binary_data_size"] == len(rest)


def test_nan_and_infinity_in_answers() -> None:
    broken = np.array([[np.nan, np.inf, -np.inf]], dtype=np.float32)
    found, _ = answer(RequestedOutput(name="logits", binary=False), logits=broken)
    np.testing.assert_array_equal(np.array(found["outputs"][0]["data"], dtype=np.float32), broken[0])


def test_garbage_raises_nothing_but_request_errors() -> None:
    rng = np.random.default_rng(0)
    document = binary_document(16) + bytes(16)
    for _ in range(2000):
        body = bytearray(document)
        for position in rng.integers(0, len(body), rng.integers(1, 6)):
            body[position] = rng.integers(0, 256)
        try:
            decode(bytes(body), header_length=int(rng.choice([len(document) - 16, 0, rng.integers(0, 200)])))
        except RequestError as error:
            assert str(error)  # noqa: PT017 - that nothing else is raised is the point
