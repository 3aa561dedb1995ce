"""What a server and its models say of themselves, in the words of the Open Inference Protocol and Triton."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from serve.answer import Answer
from serve.bundle import Feature, TensorSpec
from serve.classifier import Classifier
from serve.oip_response import DATATYPES

PLATFORM = "onnxruntime_onnx"
VERSION = "1"


def server_metadata() -> dict[str, Any]:
    """Return the answer to ``GET /v2``."""
    try:
        found = version("facsimile")
    except PackageNotFoundError:  # run from a checkout that was not installed
        found = "unknown"
    extensions = ["binary_tensor_data", "classification", "model_configuration", "model_repository"]
    return {"name": "facsimile", "version": found, "extensions": extensions}


def model_metadata(classifier: Classifier) -> dict[str, Any]:
    """Return the answer to ``GET /v2/models/NAME``."""
    manifest = classifier.manifest
    return {
        "name": manifest.name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": _tensors(manifest.inputs),
        "outputs": _tensors(manifest.outputs),
        "parameters": {
            "task": manifest.task,
            "labels": list(manifest.labels),
            **({"features": [_feature(feature) for feature in manifest.features]} if manifest.features else {}),
            "bundle_sha256": manifest.sha256,
            "provider": classifier.provider,
            "precision": classifier.precision,
        },
    }


def model_config(classifier: Classifier) -> dict[str, Any]:
    """Return the answer to ``GET /v2/models/NAME/config``, as clients of Triton read it."""
    manifest = classifier.manifest
    return {
        "name": manifest.name,
        "platform": PLATFORM,
        "max_batch_size": classifier.max_queue_rows,
        "input": _config_tensors(manifest.inputs),
        "output": _config_tensors(manifest.outputs),
        "dynamic_batching": {"max_queue_delay_microseconds": 0},
    }


def repository_index(classifiers: Iterable[Classifier]) -> list[dict[str, str]]:
    """Return the answer to ``POST /v2/repository/index``."""
    return [
        {
            "name": classifier.name,
            "version": VERSION,
            "state": "READY" if classifier.ready else "UNAVAILABLE",
            "reason": classifier.reason or "",
        }
        for classifier in classifiers
    ]


def provenance(answer: Answer) -> dict[str, str | int | float]:
    """Return what every response says of how it came about."""
    return {
        "bundle_sha256": answer.bundle_sha256,
        "provider": answer.provider,
        "precision": answer.precision,
        "batch_size": answer.batch_size,
        "queue_ms": round(answer.queue_ms, 3),
        "run_ms": round(answer.run_ms, 3),
    }


def provenance_headers(parameters: Mapping[str, str | int | float]) -> dict[str, str]:
    """Return the same as headers: ``Facsimile-Bundle-Sha256`` and so on."""
    return {f"Facsimile-{key.replace('_', '-').title()}": str(value) for key, value in parameters.items()}


def _tensors(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "datatype": DATATYPES[spec.dtype], "shape": _sizes(spec.shape)} for spec in specs]


def _feature(feature: Feature) -> dict[str, Any]:
    return {key: value for key, value in asdict(feature).items() if value}


def _config_tensors(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "data_type": f"TYPE_{DATATYPES[spec.dtype]}", "dims": _sizes(spec.shape[1:])}
        for spec in specs
    ]


def _sizes(shape: tuple[int | str, ...]) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in shape]
