"""A right graph passes whatever its weights are: nothing but the weights of one graph is exchanged, seed by seed."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from evaluate.image_inputs import image_input_sets
from evaluate.inputs import LARGEST_BATCH, Arrays
from evaluate.runners import Candidate
from evaluate.table_inputs import table_input_sets
from evaluate.truth import Truth
from evaluate.verdicts import judge_graph
from export.deployable import Deployable, input_specs, output_specs, to_float64
from export.module_runner import ModuleRunner, run_batches
from export.to_onnx import export_onnx
from serve.bundle import Feature, ImagePreprocessing, Task
from serve.onnx_runner import OnnxRunner
from train.models.inputs import build_input
from train.models.tinyvgg import TinyVGG

SEEDS = 12


def judged(module: nn.Module, task: Task, specs, outputs, graph: bytes, sets) -> list[str]:
    """Judge a graph and return the reasons of what does not pass."""
    names = tuple(spec.name for spec in outputs)
    inputs = tuple(spec.name for spec in specs)
    eager, reference = (ModuleRunner(m, inputs=inputs, outputs=names) for m in (module, to_float64(module)))
    truths = [
        Truth(
            inputs=rows,
            reference=run_batches(reference, rows.inputs, batch_size=LARGEST_BATCH),
            eager=run_batches(eager, rows.inputs, batch_size=LARGEST_BATCH),
        )
        for rows in sets
    ]
    runner = OnnxRunner(graph, name="graph.onnx", inputs=specs, outputs=outputs, provider="CPUExecutionProvider")
    candidate = Candidate(
        graph="graph.onnx",
        precision="float32",
        provider="CPUExecutionProvider",
        size_bytes=len(graph),
        optimized=True,
        runner=runner,
    )
    verdict = judge_graph(candidate, truths, task=task)
    return [f"{c.input_set}: {c.output}: {c.reason}" for c in verdict.comparisons if c.verdict != "pass"]


def exchange(model: onnx.ModelProto, module: nn.Module) -> bytes:
    """Put a module's weights in place of a graph's."""
    state = module.state_dict()
    for tensor in model.graph.initializer:
        if tensor.name in state:
            tensor.CopyFrom(numpy_helper.from_array(state[tensor.name].numpy(), tensor.name))
    return model.SerializeToString()


@pytest.mark.parametrize("scale", [1.0, 3.5])
def test_tinyvgg(scale: float, tmp_path: Path) -> None:
    preprocessing = ImagePreprocessing(color="L", height=28, width=28)
    specs = input_specs(preprocessing, ())
    outputs = output_specs("classification", tuple("0123456789"))

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        network = TinyVGG(channels=1, height=28, width=28, hidden_units=10, classes=10)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter *= scale
        return Deployable(build_input((), (0.0,), (1.0,)), network, "classification").eval()

    path = tmp_path / "graph.onnx"
    export_onnx(build(0), (torch.zeros(2, 28, 28, 1, dtype=torch.uint8),), path, inputs=specs, outputs=outputs)
    model = onnx.load_from_string(path.read_bytes())
    held_out = np.random.default_rng(0).integers(0, 256, size=(64, 28, 28, 1), dtype=np.uint8)
    alarms = []
    for seed in range(SEEDS):
        module = build(seed)
        reference = ModuleRunner(to_float64(module), inputs=("image",), outputs=("logits", "probabilities"))

        def predict(images: Arrays, reference: ModuleRunner = reference) -> np.ndarray:
            return run_batches(reference, images, batch_size=LARGEST_BATCH)["logits"].argmax(axis=1)

        sets = image_input_sets({"image": held_out}, predict=predict, seed=seed)
        alarms += judged(module, "classification", specs, outputs, exchange(model, module), sets)
    assert [alarm for alarm in alarms if "it varies by" not in alarm] == []


@pytest.mark.parametrize("rows", [4, 10, 200])
def test_small_tables(rows: int, tmp_path: Path) -> None:
    """Few held-out rows and one output: eager's luck on them must not decide."""
    features = (Feature(name="x"), Feature(name="y"))
    specs = input_specs(None, features)
    outputs = output_specs("regression", ("value",))

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(2, 10), nn.Linear(10, 10), nn.Linear(10, 1))
        return Deployable(build_input(features, (0.5, 0.5), (0.3, 0.3)), network, "regression").eval()

    path = tmp_path / "graph.onnx"
    export_onnx(build(0), (torch.zeros(2, 2),), path, inputs=specs, outputs=outputs)
    model = onnx.load_from_string(path.read_bytes())
    held_out = np.random.default_rng(0).random((rows, 2)).astype(np.float32)
    alarms = []
    for seed in range(SEEDS):
        module = build(seed)
        sets = table_input_sets({"features": held_out}, features, predict=None, seed=seed)
        alarms += judged(module, "regression", specs, outputs, exchange(model, module), sets)
    assert alarms == []
