"""What this machine does at most: a product of large matrices, and a copy of much memory."""

from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from evaluate.bench.memory import free_bytes
from evaluate.bench.result import Peak
from evaluate.bench.timing import time_in_turn, warm_up
from serve.onnx_runner import open_session

_SIDE = {"cpu": 2048, "cuda": 8192}
_COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}
_OPSET = 20
_IR_VERSION = 10
_ROUNDS = 5


def measure_peak(device: str, *, threads: int, side: int | None = None, copy_bytes: int | None = None) -> Peak:
    """Measure a device, in float32 as networks compute, TF32 excluded.

    Args:
        device: ``cpu`` or ``cuda``.
        threads: Threads of the CPU.
        side: Rows and columns of the matrices.
        copy_bytes: Bytes of the tensor that is copied.
    """
    side = side or _SIDE[device]
    copy_bytes = copy_bytes or min(_COPY_BYTES[device], (free_bytes() or 2**33) // 8)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        left, right = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
        product = torch.empty_like(left)
        source = torch.ones(copy_bytes // 4, device=device)
        target = torch.zeros_like(source)
        flops = 2 * side**3
        with torch.inference_mode():
            by_torch = flops / _best(lambda: torch.mm(left, right, out=product), wait=device == "cuda")
            copied = 2 * copy_bytes / _best(lambda: target.copy_(source), wait=device == "cuda")
        by_onnxruntime = None if device == "cuda" else flops / _best(_onnx_product(side, threads))
    finally:
        torch.set_num_threads(before)
    return Peak(device=device, flops_torch=by_torch, flops_onnxruntime=by_onnxruntime, bytes_per_s=copied)


def _best(call: Callable[[], object], *, wait: bool = False) -> float:
    """Return the least seconds of a call; where it only starts work on a device, the work is waited for."""

    def whole() -> None:
        call()
        if wait:
            torch.cuda.synchronize()

    return float(time_in_turn([warm_up(whole, seconds=0)], rounds=_ROUNDS).min())


def _onnx_product(side: int, threads: int) -> Callable[[], object]:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in ("a", "b", "c")]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product", tensors[:2], tensors[2:])
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    session = open_session(
        model.SerializeToString(),
        name="a product of matrices",
        provider="CPUExecutionProvider",
        threads=threads,
        optimized=True,
        weights={},
    )
    draw = np.random.default_rng(0)
    feeds = {name: draw.random((side, side), dtype=np.float32) for name in ("a", "b")}
    return lambda: session.run(["c"], feeds)
