"""A copy of the float32 graph with its weights in a file beside it, for formats that are made from it.

Whoever changes such a graph holds its nodes, and one weight at a time.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from export.errors import ExportError
from export.graph_job import GraphJob
from export.onnx_graph import GRAPH, SMALL_BYTES, weights_path, write_graph

_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER << 3 | 2
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER << 3 | 2
_FIXED = {1: 8, 5: 4}  # bytes of values without a length
_PAGE = 4096  # so that the file can be mapped


def write_beside(job: GraphJob, wanted: str, folder: Path) -> Path:
    """Write ``graph.onnx`` once more, with its weights in a file beside it.

    Args:
        job: Its folder holds the graph.
        wanted: The format that is made from it.
        folder: Where it goes; it must be another one than the job's.

    Returns:
        The new graph. Inside it are tensors of `SMALL_BYTES` and less.

    Raises:
        ExportError: ``graph.onnx`` was not written.
    """
    source = job.folder / GRAPH
    if not source.exists():
        raise ExportError(f"{wanted} is made from {GRAPH}, which is not written; give --formats onnx {wanted}")
    path = folder / GRAPH
    with source.open("rb") as file, weights_path(path).open("wb") as weights_file:
        model = onnx.ModelProto()
        for place in _fields(file, 0, source.stat().st_size):
            if place.key != _GRAPH:
                model.MergeFromString(place.read(file))
                continue
            for inner in _fields(file, place.start, place.end):
                if inner.key != _INITIALIZER:
                    model.graph.MergeFromString(inner.read(file))
                else:
                    tensor = onnx.TensorProto.FromString(inner.read(file, whole=False))
                    model.graph.initializer.append(_put_beside(tensor, source.parent, weights_file))
    # torch's exporter describes weights among the values between nodes, too; converters then take them for such
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(values)
    write_graph(model, path)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """Where one field of a message stands in a file.

    Source: protobuf.dev, Encoding: a key, whose last three bits say how the value is written; for what has a length
    (2), that; and the value. A message may be read in pieces that are merged.
    """

    key: int
    begin: int
    start: int
    end: int

    def read(self, file: BinaryIO, *, whole: bool = True) -> bytes:
        """Read the field, or its value alone."""
        file.seek(self.begin if whole else self.start)
        return file.read(self.end - file.tell())


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        file.seek(start)
        key = _varint(file)
        after = file.tell()
        kind = key & 7
        if kind == 0:
            _varint(file)
        elif kind == 2:
            length = _varint(file)
            after = file.tell()
            file.seek(length, os.SEEK_CUR)
        else:
            file.seek(_FIXED[kind], os.SEEK_CUR)
        yield _Field(key=key, begin=start, start=after, end=(start := file.tell()))


def _varint(file: BinaryIO) -> int:
    number = shift = 0
    while True:
        (byte,) = file.read(1)
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number


def _put_beside(tensor: onnx.TensorProto, folder: Path, file: BinaryIO) -> onnx.TensorProto:
    """Write a large weight into a file, and return what names it there; a small one is returned as it is."""
    content = read_tensor(tensor, folder).tobytes() if is_beside(tensor) else tensor.raw_data
    slim = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    if len(content) <= SMALL_BYTES:
        if not is_beside(tensor):
            return tensor
        slim.raw_data = content
        return slim
    file.write(bytes(-file.tell() % _PAGE))
    place = {"location": Path(file.name).name, "offset": str(file.tell()), "length": str(len(content))}
    file.write(content)
    slim.data_location = onnx.TensorProto.EXTERNAL
    slim.external_data.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in place.items())
    return slim


def is_beside(tensor: onnx.TensorProto) -> bool:
    """Return whether a weight stands in the file beside its graph."""
    return uses_external_data(tensor)


def read_tensor(tensor: onnx.TensorProto, folder: Path) -> NDArray[Any]:
    """Read one weight, which the graph does not keep then; ``onnx.numpy_helper`` would put it there."""
    if not is_beside(tensor):
        return onnx.numpy_helper.to_array(tensor)
    place = ExternalDataInfo(tensor)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = int(np.prod(tensor.dims, dtype=np.int64))
    return np.fromfile(folder / place.location, dtype, count=count, offset=place.offset or 0).reshape(tensor.dims)
