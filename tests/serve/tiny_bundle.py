"""Tiny bundles written by hand, without torch: what the tests of serve serve."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from serve.bundle import Feature, FileEntry, ImagePreprocessing, Manifest, Provenance, Task, TensorSpec, encode_sealed
from serve.golden import Golden, encode_golden

SIZE = 8
LABELS = ("circle", "cross", "line", "dot")
_ELEMENT = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


def write_tiny_bundle(
    path: Path,
    *,
    name: str = "tiny",
    labels: tuple[str, ...] = LABELS,
    color: Literal["L", "RGB"] = "L",
    drawing: bool = False,
    seed: int = 0,
    perturbed: float = 0.0,
) -> Path:
    """Write an image classifier: uint8 ``image`` (batch, 8, 8, channels) to ``logits`` and ``probabilities``.

    `perturbed` is added to one weight of the graph after the golden outputs were made, so it cannot reproduce them.
    """
    rng = np.random.default_rng(seed)
    preprocessing = ImagePreprocessing(color=color, height=SIZE, width=SIZE, drawing=drawing)
    pixels = int(np.prod(preprocessing.shape))
    weight = rng.normal(size=(pixels, len(labels))).astype(np.float32)
    kind = ["held-out"] * 6 + ["random"] * 4 + ["zeros", "full"]
    image = rng.integers(0, 256, (len(kind), *preprocessing.shape), dtype=np.uint8)
    image[-2], image[-1] = 0, 255

    def outputs(dtype: type) -> dict[str, NDArray[Any]]:
        logits = (image.reshape(len(image), -1).astype(dtype) / dtype(255)) @ weight.astype(dtype)
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        return {"logits": logits, "probabilities": exponent / exponent.sum(axis=1, keepdims=True)}

    reference = outputs(np.float64)
    class_index = np.where([k == "held-out" for k in kind], reference["logits"].argmax(axis=1), -1)
    served = weight.copy()
    served[0, 0] += np.float32(perturbed)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["unit"]),
        helper.make_node("Reshape", ["unit", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    constants = {"scale": np.float32(255), "flat": np.array([-1, pixels]), "weight": served}
    return write_bundle(
        path,
        name=name,
        task="classification",
        labels=labels,
        inputs=(TensorSpec(name="image", dtype="uint8", shape=("batch", *preprocessing.shape)),),
        outputs=tuple(
            TensorSpec(name=output, dtype="float32", shape=("batch", len(labels)))
            for output in ("logits", "probabilities")
        ),
        preprocessing=preprocessing,
        nodes=nodes,
        constants=constants,
        golden=Golden(
            inputs={"image": image},
            reference=reference,
            eager=outputs(np.float32),
            class_index=class_index.astype(np.int64),
            kind=np.array(kind),
        ),
    )


def write_tabular_bundle(path: Path, *, name: str = "tabular") -> Path:
    """Write a regression: float32 ``features`` (batch, 3) to ``prediction`` (batch, 2)."""
    weight = np.array([[1.5, -2], [0.25, 3], [-1, 0.1]], dtype=np.float32)
    features = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    return write_bundle(
        path,
        name=name,
        task="regression",
        labels=(),
        inputs=(TensorSpec(name="features", dtype="float32", shape=("batch", 3)),),
        outputs=(TensorSpec(name="prediction", dtype="float32", shape=("batch", 2)),),
        preprocessing=None,
        nodes=[helper.make_node("MatMul", ["features", "weight"], ["prediction"])],
        constants={"weight": weight},
        golden=Golden(
            inputs={"features": features},
            reference={"prediction": features.astype(np.float64) @ weight.astype(np.float64)},
            eager={"prediction": features @ weight},
            class_index=np.full(9, -1),
            kind=np.array(["random"] * 9),
        ),
    )


HOUSE = (
    Feature(name="rooms", optional=True),
    Feature(name="alley", categories=("Gravel", "Pave"), optional=True),
    Feature(name="area"),
)


def write_house_bundle(path: Path, *, name: str = "house", task: Task = "regression") -> Path:
    """Write a model of `HOUSE` tables: a missing value counts as 0; task says what follows the product with weights.

    A regression has the target ``price``; a classification the labels of `LABELS`; a binary one ``cheap`` and ``dear``.
    """
    labels = {"regression": ("price",), "classification": LABELS, "binary-classification": ("cheap", "dear")}[task]
    width = 4 if task == "classification" else 1
    weight = np.random.default_rng(3).normal(size=(3, width)).astype(np.float32)
    features = np.array([[3, 1, 0.5], [2, np.nan, 1.5], [np.nan, 0, -2], [4, 1, 0.25]], dtype=np.float32)
    spec = "prediction" if task == "regression" else "logits"

    def outputs(dtype: type) -> dict[str, NDArray[Any]]:
        product = np.where(np.isnan(features), 0, features).astype(dtype) @ weight.astype(dtype)
        if task == "regression":
            return {"prediction": product}
        exponent = np.exp(product)
        probabilities = exponent / (exponent.sum(axis=1, keepdims=True) if width > 1 else 1 + exponent)
        return {"logits": product, "probabilities": probabilities.astype(dtype)}

    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weight"], [spec]),
    ]
    if task != "regression":
        last = "Softmax" if task == "classification" else "Sigmoid"
        nodes.append(helper.make_node(last, ["logits"], ["probabilities"]))
    reference = outputs(np.float64)
    return write_bundle(
        path,
        name=name,
        task=task,
        labels=labels,
        inputs=(TensorSpec(name="features", dtype="float32", shape=("batch", 3)),),
        outputs=tuple(TensorSpec(name=output, dtype="float32", shape=("batch", width)) for output in reference),
        preprocessing=None,
        nodes=nodes,
        constants={"zero": np.float32(0), "weight": weight},
        golden=Golden(
            inputs={"features": features},
            reference=reference,
            eager=outputs(np.float32),
            class_index=np.full(4, -1) if task == "regression" else np.array([0, 1, 1, 0]),
            kind=np.array(["held-out"] * 4),
        ),
        features=HOUSE,
    )


def write_lookup_bundle(path: Path, *, name: str = "lookup") -> Path:
    """Write a graph that can fail on valid input: int64 ``index`` (batch, 1) looks up rows 0 to 4; 5 is an error."""
    table = np.arange(10, dtype=np.float32).reshape(5, 2) + 1
    index = np.arange(5, dtype=np.int64)[:, None]
    return write_bundle(
        path,
        name=name,
        task="regression",
        labels=(),
        inputs=(TensorSpec(name="index", dtype="int64", shape=("batch", 1)),),
        outputs=(TensorSpec(name="prediction", dtype="float32", shape=("batch", 2)),),
        preprocessing=None,
        nodes=[
            helper.make_node("Reshape", ["index", "flat"], ["row"]),
            helper.make_node("Gather", ["table", "row"], ["prediction"]),
        ],
        constants={"flat": np.array([-1]), "table": table},
        golden=Golden(
            inputs={"index": index},
            reference={"prediction": table.astype(np.float64)},
            eager={"prediction": table},
            class_index=np.full(5, -1),
            kind=np.array(["random"] * 5),
        ),
    )


def write_bundle(
    path: Path,
    *,
    name: str,
    task: Task,
    labels: tuple[str, ...],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    preprocessing: ImagePreprocessing | None,
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, Any],
    golden: Golden,
    features: tuple[Feature, ...] = (),
) -> Path:
    """Write any bundle: graph from `nodes` and `constants`, golden inputs, model card, sealed manifest."""
    path.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(spec.name, _ELEMENT[spec.dtype], list(spec.shape)) for spec in inputs],
        [helper.make_tensor_value_info(spec.name, _ELEMENT[spec.dtype], list(spec.shape)) for spec in outputs],
        [numpy_helper.from_array(np.asarray(values), constant) for constant, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    contents = {
        "graph.onnx": ("onnx", "float32", model.SerializeToString()),
        "golden.npz": ("golden", None, encode_golden(golden)),
        "model-card.md": ("model-card", None, f"# {name}\n".encode()),
    }
    for file_name, (_, _, content) in contents.items():
        (path / file_name).write_bytes(content)
    manifest = Manifest(
        schema_version=1,
        sha256="0" * 64,
        name=name,
        task=task,
        labels=labels,
        inputs=inputs,
        outputs=outputs,
        preprocessing=preprocessing,
        files=tuple(
            FileEntry(
                path=file_name,
                format=file_format,
                precision=precision,
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            for file_name, (file_format, precision, content) in contents.items()
        ),
        provenance=Provenance(
            recipe=None,
            factory="by hand",
            factory_args={},
            mean=(),
            std=(),
            seed=None,
            dataset="none",
            dataset_sha256="0" * 64,
            device="cpu",
            versions={},
            source_revision=None,
        ),
        features=features,
    )
    (path / "manifest.json").write_bytes(encode_sealed(manifest))
    return path
