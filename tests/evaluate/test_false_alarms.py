"""A right graph passes whatever its weights are: nothing but the weights of one graph is exchanged, seed by seed."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from evaluate.eager import Eager
from evaluate.plan import plan_of
from evaluate.runners import Candidate
from evaluate.source import HeldOut
from evaluate.truth import truths_of
from evaluate.verdicts import judge_graph
from export.deployable import Deployable, input_specs, output_specs, to_float64
from export.module_runner import ModuleRunner
from export.to_onnx import export_onnx
from serve.bundle import SCHEMA_VERSION, Feature, ImagePreprocessing, Manifest, Provenance, Task
from serve.golden import Golden
from serve.onnx_runner import OnnxRunner
from train.models.inputs import build_input
from train.models.tinyvgg import TinyVGG

SEEDS = 12


def described(task: Task, preprocessing: ImagePreprocessing | None, features: tuple[Feature, ...], labels) -> Manifest:
    """Describe a network as a bundle would; nothing of it is on disk."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        sha256="0" * 64,
        name="network",
        task=task,
        labels=labels,
        inputs=input_specs(preprocessing, features),
        outputs=output_specs(task, labels),
        preprocessing=preprocessing,
        files=(),
        features=features,
        provenance=Provenance(
            recipe=None, factory="", factory_args={}, mean=(), std=(), seed=None, dataset="", dataset_sha256="",
            device="cpu", versions={}, source_revision=None,
        ),
    )  # fmt: skip


def judged(module: nn.Module, manifest: Manifest, graph: bytes, held_out: np.ndarray, seed: int) -> list[str]:
    """Judge a graph as a certificate does, and return the reasons of what does not pass."""
    names, outputs = tuple(spec.name for spec in manifest.inputs), tuple(spec.name for spec in manifest.outputs)
    single, double = (ModuleRunner(m, inputs=names, outputs=outputs) for m in (module, to_float64(module)))
    eager = Eager(module=module, single=single, double=double)
    samples, rows = {names[0]: held_out}, len(held_out)
    golden = Golden(
        inputs=samples,
        reference=eager.run64(samples),
        eager=eager.run(samples),
        class_index=np.full(rows, -1),
        kind=np.full(rows, "held-out"),
    )
    truths, skipped = truths_of(
        manifest,
        golden,
        HeldOut(inputs=samples, targets=None, source="made up"),
        eager,
        plan=plan_of(quick=False),
        seed=seed,
    )
    assert skipped == ()
    runner = OnnxRunner(
        graph, name="graph.onnx", inputs=manifest.inputs, outputs=manifest.outputs, provider="CPUExecutionProvider"
    )
    candidate = Candidate(
        graph="graph.onnx",
        precision="float32",
        provider="CPUExecutionProvider",
        size_bytes=len(graph),
        optimized=True,
        runner=runner,
    )
    verdict = judge_graph(candidate, truths, task=manifest.task)
    found = [f"{c.input_set}: {c.output}: {c.reason}" for c in verdict.comparisons if c.verdict != "pass"]
    return found or ([] if verdict.verdict == "pass" else [str(verdict.reason)])


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
    manifest = described("classification", preprocessing, (), tuple("0123456789"))

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        network = TinyVGG(channels=1, height=28, width=28, hidden_units=10, classes=10)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter *= scale
        return Deployable(build_input((), (0.0,), (1.0,)), network, "classification").eval()

    path = tmp_path / "graph.onnx"
    export_onnx(
        build(0),
        (torch.zeros(2, 28, 28, 1, dtype=torch.uint8),),
        path,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
    )
    model = onnx.load_from_string(path.read_bytes())
    held_out = np.random.default_rng(0).integers(0, 256, size=(64, 28, 28, 1), dtype=np.uint8)
    alarms = []
    for seed in range(SEEDS):
        module = build(seed)
        alarms += judged(module, manifest, exchange(model, module), held_out, seed)
    assert [alarm for alarm in alarms if "it varies by" not in alarm] == []


@pytest.mark.parametrize("rows", [4, 10, 200])
def test_small_tables(rows: int, tmp_path: Path) -> None:
    """Few held-out rows and one output: eager's luck on them must not decide."""
    features = (Feature(name="x"), Feature(name="y"))
    manifest = described("regression", None, features, ("value",))

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(2, 10), nn.Linear(10, 10), nn.Linear(10, 1))
        return Deployable(build_input(features, (0.5, 0.5), (0.3, 0.3)), network, "regression").eval()

    path = tmp_path / "graph.onnx"
    export_onnx(build(0), (torch.zeros(2, 2),), path, inputs=manifest.inputs, outputs=manifest.outputs)
    model = onnx.load_from_string(path.read_bytes())
    held_out = np.random.default_rng(0).random((rows, 2)).astype(np.float32)
    alarms = []
    for seed in range(SEEDS):
        module = build(seed)
        alarms += judged(module, manifest, exchange(model, module), held_out, seed)
    assert alarms == []
    assert judged(build(0), manifest, exchange(model, build(1)), held_out, 0) != []
