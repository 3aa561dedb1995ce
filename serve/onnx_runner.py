"""Runs an ONNX graph on exactly the provider that was asked for."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # type: ignore[import-untyped]

from serve.bundle import BundleError, TensorSpec
from serve.devices import Provider, ProviderError, usable_cpus

# ONNX Runtime's exceptions share no base class of their own
ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.EngineError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)
_DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}
_SEVERITY_ERROR = 3


class OnnxRunner:
    """An ONNX Runtime session that runs where it was told to, or does not come to be.

    Args:
        graph: The ONNX file's bytes.
        name: How messages call it.
        inputs: What the manifest says that it takes; the graph must agree.
        outputs: What the manifest says that it gives; the graph must agree.
        provider: ONNX Runtime's exact name.
        threads: Threads of one run; all usable CPUs where it is None.
        optimized: Let ONNX Runtime rewrite the graph, as serving does; evaluate also runs it as it was written.
        weights: Contents of the files that the graph keeps weights in, by name, as `Bundle.read_weights` checked them;
            no other file is read.

    Raises:
        BundleError: the bytes are no graph that ONNX Runtime runs, or the graph differs from the manifest.
        ProviderError: the session was not created on the provider.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        name: str,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        provider: Provider,
        threads: int | None = None,
        optimized: bool = True,
        weights: Mapping[str, bytes] | None = None,
    ) -> None:
        self.provider: Provider = provider
        self._session = open_session(
            graph, name=name, provider=provider, threads=threads, optimized=optimized, weights=weights or {}
        )
        _check_signature(self._session.get_inputs(), inputs, f"{name} takes input")
        _check_signature(self._session.get_outputs(), outputs, f"{name} gives output")
        self._outputs = [spec.name for spec in outputs]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; the arrays' names, dtypes and shapes must be those of the graph."""
        return self._run(inputs)

    def _run(self, inputs: Mapping[str, NDArray[Any]], options: Any = None) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - untyped library
        feeds = {name: np.ascontiguousarray(values) for name, values in inputs.items()}
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds, options), strict=True))

    def limited(self, seconds: float) -> "LimitedRunner":
        """Return a runner of the same session with so many seconds for all its runs: a loop may have no end."""
        return LimitedRunner(self._run, seconds)


class LimitedRunner:
    """Runs batches as `OnnxRunner` does, which makes it, but none once so many seconds have passed since.

    A run that is given up, or comes too late, raises one of `ORT_ERRORS`.
    """

    def __init__(self, run: Callable[..., dict[str, NDArray[Any]]], seconds: float) -> None:
        self._run = run
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch in what is left of the time."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise RuntimeError(self._fault)
        options = ort.RunOptions()
        watch = threading.Timer(left, setattr, (options, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            return self._run(inputs, options)
        except ORT_ERRORS as error:
            if not options.terminate:
                raise
            raise RuntimeError(self._fault) from error
        finally:
            watch.cancel()

    @property
    def _fault(self) -> str:
        return f"its runs did not end within {self._seconds:g} s"


def open_runner(
    graph: bytes,
    *,
    name: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    provider: Provider,
    fall_back: bool,
    threads: int | None = None,
    weights: Mapping[str, bytes] | None = None,
) -> tuple[OnnxRunner, str | None]:
    """Open a runner where it was asked for or, where that was left open, on the CPU, with the reason.

    Args:
        graph: As for `OnnxRunner`, with the next ones.
        name: How messages call it.
        inputs: What it takes.
        outputs: What it gives.
        provider: Where it is to run.
        fall_back: Whether the CPU will do: a driver may be there without the libraries that CUDA needs.
        threads: Threads of one run.
        weights: As for `OnnxRunner`.

    Returns:
        The runner, and why it runs on the CPU after all, or None.

    Raises:
        BundleError: the bytes are no graph that ONNX Runtime runs, or the graph differs from the manifest.
        ProviderError: the session was not created on the provider, and that was asked for.
    """

    def open_on(where: Provider) -> OnnxRunner:
        return OnnxRunner(
            graph, name=name, inputs=inputs, outputs=outputs, provider=where, threads=threads, weights=weights
        )

    try:
        return open_on(provider), None
    except ProviderError as error:
        if not fall_back or provider == "CPUExecutionProvider":
            raise
        return open_on("CPUExecutionProvider"), f"not on {provider}: {error}"


def open_session(
    graph: bytes,
    *,
    name: str,
    provider: Provider,
    threads: int | None,
    optimized: bool,
    weights: Mapping[str, bytes],
) -> Any:  # noqa: ANN401 - untyped library
    """Open a session as `OnnxRunner` does, which says what the arguments are.

    Raises:
        BundleError: the bytes are no graph that ONNX Runtime runs.
        ProviderError: the session was not created on the provider.
    """
    options = ort.SessionOptions()
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads or usable_cpus()
    options.inter_op_num_threads = 1
    options.log_severity_level = _SEVERITY_ERROR
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would burn their cores
    # a graph can name files that hold its weights, relative to the working directory, "../" included; in a bundle all
    # is in files whose digests were checked, and those are handed over, so there is no folder for others
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    if weights:
        options.add_external_initializers_from_files_in_memory(
            list(weights), list(weights.values()), [len(content) for content in weights.values()]
        )
    providers: list[object] = [provider]
    if provider == "CUDAExecutionProvider":
        ort.preload_dlls()
        # TF32 has 10 bits of mantissa, which no numeric parity with float32 survives
        providers = [(provider, {"use_tf32": "0"}), "CPUExecutionProvider"]
    try:
        session = ort.InferenceSession(graph, sess_options=options, providers=providers, enable_fallback=0)
    except ORT_ERRORS as error:
        if provider != "CPUExecutionProvider":
            raise ProviderError(f"{name} cannot be run on {provider} ({error}); use --provider cpu") from error
        raise BundleError(
            f"{name} cannot be run by ONNX Runtime {ort.__version__} ({error}); export it again"
        ) from error
    found = session.get_providers()[0]
    if found != provider:
        raise ProviderError(
            f"{name} runs on {found}, but {provider} was asked for; install what ONNX Runtime {ort.__version__} needs "
            "for it, or use --provider cpu"
        )
    return session


def _check_signature(found: Any, expected: tuple[TensorSpec, ...], subject: str) -> None:  # noqa: ANN401 - untyped library
    actual = {tensor.name: tensor for tensor in found}
    for spec in expected:
        if spec.name not in actual:
            raise BundleError(
                f"{subject} {', '.join(actual)}, but manifest.json lists {spec.name}; export the bundle again"
            )
        tensor = actual[spec.name]
        dtype = _DTYPES.get(tensor.type, tensor.type)
        if dtype != spec.dtype:
            raise BundleError(
                f"{subject} {spec.name} as {dtype}, but manifest.json says {spec.dtype}; export the bundle again"
            )
        same = len(tensor.shape) == len(spec.shape) and all(
            not isinstance(have, int) if isinstance(want, str) else have == want
            for have, want in zip(tensor.shape, spec.shape, strict=True)
        )
        if not same:
            raise BundleError(
                f"{subject} {spec.name} of shape {list(tensor.shape)}, but manifest.json says {list(spec.shape)}; "
                "export the bundle again"
            )
    if subject.endswith("input") and len(actual) != len(expected):
        raise BundleError(
            f"{subject}s {', '.join(actual)}, but manifest.json lists {', '.join(spec.name for spec in expected)}; "
            "export the bundle again"
        )
