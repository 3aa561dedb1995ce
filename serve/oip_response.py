"""Open Inference Protocol v2: what a request asks for, and the response that answers it, as bytes.

Source: github.com/kserve/open-inference-protocol and Triton's binary tensor and classification extensions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve.bundle import Manifest

DATATYPES = {
    "uint8": "UINT8",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOutput:
    """One output that a request asks for.

    Attributes:
        name: Which.
        binary: Whether it is sent as bytes after the JSON.
        classes: How many of the highest values are sent as ``value:index:label``, or None for the tensor itself.
    """

    name: str
    binary: bool
    classes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InferRequest:
    """A request, decoded and checked.

    Attributes:
        id: What the response repeats, or None.
        inputs: Arrays by input name, ``(rows, …)``.
        outputs: What is asked for, in this order.
        deadline_s: Seconds after which it is not worth running, or None.
    """

    id: str | None
    inputs: dict[str, NDArray[Any]]
    outputs: tuple[RequestedOutput, ...]
    deadline_s: float | None


def encode_response(
    request: InferRequest,
    outputs: Mapping[str, NDArray[Any]],
    *,
    manifest: Manifest,
    parameters: Mapping[str, str | int | float],
) -> tuple[bytes, int | None]:
    """Encode the answer to a request.

    NaN and infinity in JSON stand as ``NaN`` and ``Infinity``, as Triton writes them: strict JSON has no word for them.

    Returns:
        The body, and the length of its JSON where binary tensors follow it.
    """
    described: list[dict[str, Any]] = []
    binary: list[bytes] = []
    plain = True
    for wanted in request.outputs:
        values = outputs[wanted.name]
        if wanted.classes is not None:
            entries, shape = _top_classes(values, wanted.classes, manifest.labels)
            datatype, content = "BYTES", b"".join(len(e).to_bytes(4, "little") + e for e in entries)
        else:
            entries, shape = [], list(values.shape)
            datatype, content = DATATYPES[values.dtype.name], b""
        entry: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": shape}
        if wanted.binary:
            content = content or np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
            entry["parameters"] = {"binary_data_size": len(content)}
            binary.append(content)
        elif wanted.classes is not None:
            entry["data"] = [e.decode() for e in entries]
        else:
            plain = plain and bool(np.isfinite(values).all())
            entry["data"] = values.ravel().tolist()
        described.append(entry)
    head = {"model_name": manifest.name, "model_version": "1", "parameters": dict(parameters), "outputs": described}
    if request.id is not None:
        head["id"] = request.id
    encoded = msgspec.json.encode(head) if plain else json.dumps(head).encode()
    return b"".join([encoded, *binary]), len(encoded) if binary else None


def _top_classes(values: NDArray[Any], classes: int, labels: Sequence[str]) -> tuple[list[bytes], list[int]]:
    """Return ``value:index:label`` of the highest values of each row, best first, and the shape they stand for."""
    order = np.argsort(-values.astype(np.float64), axis=1, kind="stable")[:, :classes]
    named = len(labels) == values.shape[1]
    entries = [
        f"{float(values[row, index]):f}:{index}{':' + labels[index] if named else ''}".encode()
        for row, indices in enumerate(order.tolist())
        for index in indices
    ]
    return entries, list(order.shape)
