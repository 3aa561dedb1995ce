"""Open Inference Protocol v2: infer requests as bytes, JSON and binary tensors; no sockets, no models.

Source: github.com/kserve/open-inference-protocol and Triton's binary tensor and classification extensions.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.answer import RequestError
from serve.bundle import Manifest, TensorSpec
from serve.oip_head import Head, HeadInput, decode_head, decode_shape, parameters_of, read_count, read_flag
from serve.oip_response import DATATYPES, InferRequest, RequestedOutput
from serve.oip_tensor import Tensor, dtype_of, values_from_bytes, values_from_json
from serve.signature import check_inputs, describe_shape


def decode_request(body: bytes, *, header_length: int | None, manifest: Manifest, max_rows: int) -> InferRequest:
    """Decode the body of an infer request.

    Names, dtypes, shapes and sizes are checked before any tensor is made.

    Args:
        body: JSON, followed by binary tensors where `header_length` says so; uncompressed.
        header_length: ``Inference-Header-Content-Length``: bytes of JSON; 0 where the body is nothing but the one
            tensor; None where all of it is JSON.
        manifest: The model's.
        max_rows: Most rows of one request.

    Raises:
        RequestError: anything is not as the protocol or the model wants it.
        TooLargeError: there are more rows than are taken at once.
    """
    if header_length == 0:
        return _decode_raw(body, manifest, max_rows)
    if header_length is not None and not 0 <= header_length <= len(body):
        raise RequestError(
            f"Inference-Header-Content-Length is {header_length}, but the body has {len(body)} bytes; "
            "send the length of its JSON"
        )
    end = len(body) if header_length is None else header_length
    head = decode_head(body[:end])
    tensors = [_describe(tensor) for tensor in head.inputs]
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise RequestError(f"inputs are {', '.join(names)}, but each may stand there once only")
    declared = {tensor.name: (dtype_of(tensor), tensor.shape) for tensor in tensors}
    check_inputs(declared, manifest, max_rows=max_rows)
    inputs: dict[str, NDArray[Any]] = {}
    for tensor in tensors:
        if tensor.size_bytes is None:
            inputs[tensor.name] = values_from_json(tensor)
        else:
            inputs[tensor.name] = values_from_bytes(tensor, body, end, tensor.size_bytes)
            end += tensor.size_bytes
    if end != len(body):
        raise RequestError(f"the body has {len(body) - end} bytes after its last tensor, but none were expected")
    parameters = parameters_of(head.parameters, "the request")
    timeout_us = read_count(parameters, "timeout", "the request")
    return InferRequest(
        id=head.id,
        inputs=inputs,
        outputs=_requested(head, parameters, manifest),
        deadline_s=timeout_us / 1e6 if timeout_us else None,
    )


def _describe(tensor: HeadInput) -> Tensor:
    subject = f"input {tensor.name}"
    return Tensor(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=decode_shape(tensor.shape, subject),
        size_bytes=read_count(parameters_of(tensor.parameters, subject), "binary_data_size", subject),
        data=bytes(tensor.data),
    )


def _decode_raw(body: bytes, manifest: Manifest, max_rows: int) -> InferRequest:
    spec = manifest.inputs[0]
    fixed = [size for size in spec.shape[1:] if isinstance(size, int)]
    if len(manifest.inputs) > 1 or len(fixed) != len(spec.shape) - 1:
        raise RequestError(
            f"Inference-Header-Content-Length is 0, but the shapes model {manifest.name} takes cannot be told from "
            "a bare tensor; send the JSON too"
        )
    row_bytes = math.prod(fixed) * np.dtype(spec.dtype).itemsize
    if not body or len(body) % row_bytes:
        raise RequestError(
            f"the body has {len(body)} bytes, but input {spec.name} is {spec.dtype} {describe_shape(spec)} "
            f"of {row_bytes} bytes a row; send whole rows"
        )
    shape = (len(body) // row_bytes, *fixed)
    check_inputs({spec.name: (spec.dtype, shape)}, manifest, max_rows=max_rows)
    tensor = Tensor(name=spec.name, datatype=DATATYPES[spec.dtype], shape=shape)
    outputs = tuple(RequestedOutput(name=output.name, binary=True) for output in manifest.outputs)
    inputs = {spec.name: values_from_bytes(tensor, body, 0, len(body))}
    return InferRequest(id=None, inputs=inputs, outputs=outputs, deadline_s=None)


def _requested(head: Head, given: Mapping[str, Any], manifest: Manifest) -> tuple[RequestedOutput, ...]:
    binary = read_flag(given, "binary_data_output", "the request", default=False)
    if not head.outputs:
        return tuple(RequestedOutput(name=spec.name, binary=binary) for spec in manifest.outputs)
    known = {spec.name: spec for spec in manifest.outputs}
    requested: list[RequestedOutput] = []
    for output in head.outputs:
        if output.name not in known:
            raise RequestError(f"output {output.name} is asked for, but model {manifest.name} has {', '.join(known)}")
        if any(output.name == earlier.name for earlier in requested):
            raise RequestError(f"output {output.name} is asked for twice, but each may stand there once only")
        subject = f"output {output.name}"
        parameters = parameters_of(output.parameters, subject)
        requested.append(
            RequestedOutput(
                name=output.name,
                binary=read_flag(parameters, "binary_data", subject, default=binary),
                classes=_classes(parameters, subject, known[output.name]),
            )
        )
    return tuple(requested)


def _classes(parameters: Mapping[str, Any], subject: str, spec: TensorSpec) -> int | None:
    classes = read_count(parameters, "classification", subject)
    if not classes:
        return None
    if len(spec.shape) != 2:
        raise RequestError(f"{subject} has parameter classification, but shape {describe_shape(spec)} holds no classes")
    return classes
