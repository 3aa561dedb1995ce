"""How many planted faults blame finds: each is one wrong operator in one graph, and its name is the answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir
import torch

from evaluate.blame.blame import Truths, blame_pair
from evaluate.blame.found import Blame
from evaluate.blame.from_trace import trace_module
from evaluate.blame.pairs import pair_onnx, pair_trace, reference_of, tensors_of, trace_reference
from evaluate.blame.plant_onnx import plant_all
from evaluate.blame.plant_trace import plant_modules
from evaluate.blame.study_networks import Network, build_networks
from export.module_runner import ModuleRunner
from export.reference import to_float64
from export.to_onnx import call_exporter
from serve.bundle import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One planted fault.

    Attributes:
        network: Where.
        graph: In which format.
        fault: What was planted.
        visible: Whether the outputs are wrong at all.
        found: Whether the right operator was named; where nothing is visible, whether none was.
        named: What was named.
    """

    network: str
    graph: str
    fault: str
    visible: bool
    found: bool
    named: str


def run_study(*, seed: int = 0, every: int = 1, on_step: Callable[[str], None] = lambda _: None) -> list[Result]:
    """Plant faults, one at a time, and look for each.

    Args:
        seed: Decides weights and inputs.
        every: Plant only every so manieth one.
        on_step: Told what is being done.
    """
    results: list[Result] = []
    for network in build_networks(seed):
        truths = truths_of(network)
        for study in (_study_onnx, _study_trace):
            for result in study(network, truths, every):
                results.append(result)
                on_step(f"planted faults: {sum(r.found for r in results)} of {len(results)} found")
    return results


def truths_of(network: Network) -> Truths:
    """Run a network in float32 and in float64."""
    names = {
        "inputs": tuple(spec.name for spec in network.inputs),
        "outputs": tuple(spec.name for spec in network.outputs),
    }
    wide = {
        name: values.astype(np.float64) if values.dtype == np.float32 else values
        for name, values in network.feeds.items()
    }
    return Truths(
        eager=ModuleRunner(network.module, **names).run(network.feeds),
        reference=ModuleRunner(to_float64(network.module), **names).run(wide),
    )


def export_network(network: Network) -> torch.onnx.ONNXProgram:
    """Export a network to ONNX."""
    examples = tuple(torch.from_numpy(values[:2]) for values in network.feeds.values())
    return call_exporter(network.module, examples, inputs=network.inputs, outputs=network.outputs, opset=None)


def _study_onnx(network: Network, truths: Truths, every: int) -> Iterator[Result]:
    exported = export_network(network)
    reference = reference_of(exported, network.module)
    content = onnx_ir.to_proto(exported.model).SerializeToString()
    outputs = tuple(spec.name for spec in network.outputs)
    for planted in list(plant_all(content))[::every]:
        try:
            pair = pair_onnx(reference, planted.content, network.feeds, name="graph.onnx", outputs=outputs)
            pair.graph.values(outputs)
        except BundleError:  # of some, shapes do not fit any more: whoever runs it notices
            continue
        blame = blame_pair(pair, network.feeds, truths, name=network.name)
        found = blame.culprit is not None and blame.culprit.node in planted.nodes
        yield _result(network, "ONNX", planted.fault, blame, found=found)


def _study_trace(network: Network, truths: Truths, every: int) -> Iterator[Result]:
    reference = trace_reference(network.module, network.feeds)
    tensors = tensors_of(network.feeds)
    for planted in list(plant_modules(network.module))[::every]:
        pair = pair_trace(reference, trace_module(planted.module, tensors), network.feeds, name="graph.torchscript.pt")
        blame = blame_pair(pair, network.feeds, truths, name=network.name)
        found = blame.culprit is not None and blame.culprit.path == planted.path
        yield _result(network, "TorchScript", planted.fault, blame, found=found)


def _result(network: Network, graph: str, fault: str, blame: Blame, *, found: bool) -> Result:
    culprit = blame.culprit
    return Result(
        network=network.name,
        graph=graph,
        fault=fault,
        visible=not blame.passed,
        found=found if not blame.passed else culprit is None,
        named=f"{culprit.sentence}; {culprit.detail}; {culprit.path}" if culprit is not None else "nothing",
    )
