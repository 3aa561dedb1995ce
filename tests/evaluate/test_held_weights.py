"""The weights inside a graph are the model's, also those that no sample reads."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import pytest
import torch
from altered import copy_bundle
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

import export
from evaluate.certificate import Certificate
from evaluate.eager import eager_of
from evaluate.held_weights import held_weights
from evaluate.judge import certify
from evaluate.resealed import replace_file
from evaluate.source import golden_of
from serve.bundle import read_bundle

WORDS = 3000

pytestmark = pytest.mark.filterwarnings("ignore:no samples were given", "ignore:tensors are taken as they are")


class Pictures(nn.Module):
    """Convolutions with batch normalisation, which the ONNX exporter merges."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 6, 3)
        self.norm2 = nn.BatchNorm2d(6)
        self.last = nn.Linear(6, 3)

    def forward(self, image: Tensor) -> Tensor:
        """Run one batch."""
        hidden = torch.relu(self.norm(self.first(image)))
        return self.last(torch.relu(self.norm2(self.second(hidden))).mean(dim=(2, 3)))


class RareWords(nn.Module):
    """Words of which hardly any is ever read."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run one batch."""
        return self.last(self.words(tokens.remainder(50)).sum(dim=1))


def pictures() -> nn.Module:
    torch.manual_seed(1)
    network = Pictures()
    for part in (network.norm, network.norm2):
        nn.init.uniform_(part.running_mean, -1, 1)
        nn.init.uniform_(part.running_var, 0.5, 2)
        nn.init.uniform_(part.weight, -2, 2)
    return network.eval()


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    folder = tmp_path_factory.mktemp("rare")
    torch.manual_seed(2)
    network = RareWords().eval()
    samples = folder / "tokens.npz"
    np.savez(samples, tokens=np.random.default_rng(0).integers(0, WORDS, size=(64, 5)))
    export.bundle(
        network,
        folder / "bundle",
        inputs="tokens:int64[5]",
        labels=("no", "yes"),
        samples=samples,
        formats=("onnx", "torchscript", "exported-program"),
    )
    return network, folder / "bundle"


def change_onnx(bundle: Path, name: str, change: Callable[[np.ndarray], None]) -> None:
    model = onnx.load(bundle / "graph.onnx")
    tensor = next(one for one in model.graph.initializer if one.name == name)
    values = numpy_helper.to_array(tensor).copy()
    change(values)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    replace_file(bundle, "graph.onnx", model.SerializeToString())


def reasons(certificate: Certificate) -> dict[str, str | None]:
    return {graph.graph: graph.reason for graph in certificate.graphs}


def judged(bundle: Path, network: nn.Module) -> Certificate:
    return certify(read_bundle(bundle), module=network, quick=True)


def test_all_tensors_of_a_right_graph_are_the_models(rare: tuple[nn.Module, Path]) -> None:
    network, bundle = rare
    certificate = judged(bundle, network)
    assert certificate.passed, reasons(certificate)
    names = ("graph.onnx", "graph.torchscript.pt", "graph.pt2")
    assert {
        held.graph: (held.equal >= 3, held.folded, held.differing) for held in certificate.weights
    } == dict.fromkeys(names, (True, 0, ()))


def test_weight_that_no_input_reads_is_told(rare: tuple[nn.Module, Path], tmp_path: Path) -> None:
    network, original = rare
    bundle = copy_bundle(original, tmp_path / "bundle")

    def spoil(values: np.ndarray) -> None:
        values[WORDS - 1, 2] *= 1.01

    change_onnx(bundle, "network.words.weight", spoil)
    certificate = judged(bundle, network)
    assert not certificate.passed
    sentence = reasons(certificate)["graph.onnx"]
    assert sentence is not None
    assert sentence.startswith("words.weight differs from the model's in 1 of 12000 values, by at most 0.0")
    assert reasons(certificate)["graph.torchscript.pt"] is None
    # and by its outputs alone it would have passed
    assert all(c.verdict == "pass" for graph in certificate.graphs for c in graph.comparisons)


def test_unread_weight_of_torchscript_and_exported_program_is_told(
    rare: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    network, original = rare
    bundle = copy_bundle(original, tmp_path / "bundle")

    spoilt = RareWords().eval()
    spoilt.load_state_dict(network.state_dict())
    with torch.no_grad():
        spoilt.words.weight[60:] = 0
    other = tmp_path / "other"
    export.bundle(
        spoilt, other, inputs="tokens:int64[5]", labels=("no", "yes"), formats=("torchscript", "exported-program")
    )
    for graph in ("graph.torchscript.pt", "graph.pt2"):
        replace_file(bundle, graph, (other / graph).read_bytes())
    certificate = judged(bundle, network)
    for graph in ("graph.torchscript.pt", "graph.pt2"):
        assert "words.weight differs from the model's in 11760 of 12000" in str(reasons(certificate)[graph])
    assert reasons(certificate)["graph.onnx"] is None


class Words(nn.Module):
    """Batch normalisation beside words: nothing merges one into the other."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 4)
        self.norm = nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run one batch."""
        return self.last(self.norm(self.words(tokens.remainder(50)).sum(dim=1)))


class Head(nn.Module):
    """The mean over a picture of what some layers make of it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Run one batch."""
        return self.layers(image).mean(dim=(2, 3))


class Frozen(nn.Module):
    """Batch normalisation by the function alone, and a buffer that forward keeps something in."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3)
        self.register_buffer("average", torch.rand(4))
        self.register_buffer("spread", torch.rand(4) + 0.5)
        self.register_buffer("kept", torch.zeros(1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Run one batch."""
        self.kept = self.kept * 0 + 1
        return functional.batch_norm(self.first(image), self.average, self.spread).mean(dim=(2, 3))


def normalised(*layers: nn.Module) -> nn.Module:
    """Return layers with statistics that are none's."""
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, -2, 2)
            nn.init.uniform_(layer.bias, -1, 1)
    return Head(*layers)


def no_kernel(network: nn.Module) -> nn.Module:
    nn.init.zeros_(network.layers[0].weight)
    return network


@pytest.mark.parametrize(
    ("make", "merged"),
    [
        pytest.param(lambda: normalised(nn.Conv2d(2, 4, 1, groups=2), nn.BatchNorm2d(4)), 2, id="one value a channel"),
        pytest.param(lambda: normalised(nn.ConvTranspose2d(2, 4, 3, groups=2), nn.BatchNorm2d(4)), 2, id="transposed"),
        pytest.param(lambda: normalised(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)), 2, id="twice"),
        pytest.param(lambda: no_kernel(normalised(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))), 2, id="no kernel"),
        pytest.param(Frozen, 2, id="by the function"),
    ],
)
def test_right_tensors_that_were_merged_are_the_models(
    make: Callable[[], nn.Module], merged: int, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    network, bundle = make().eval(), tmp_path / "bundle"
    export.bundle(network, bundle, inputs="image:float32[2,6,6]", labels=("a", "b", "c", "d"))
    read = read_bundle(bundle)
    module = eager_of(read, module=network)[0].module
    golden = golden_of(read)
    module(*(torch.from_numpy(golden.inputs[spec.name]) for spec in read.manifest.inputs))
    for kind, wanted in (("onnx", merged), ("torchscript", 0)):
        entry = read.entry(kind)
        assert entry is not None
        held = held_weights(read, entry, module, golden.inputs)
        assert held is not None
        assert (held.folded, held.differing) == (wanted, ())


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda words: words[60:] * 0, id="rows of nothing"),
        pytest.param(lambda words: words * np.r_[np.ones(60), np.full(WORDS - 60, 7)][:, None], id="a factor a row"),
        pytest.param(lambda words: words[:60], id="rows cut off"),
    ],
)
def test_batch_normalisation_excuses_nothing_else(spoil: Callable[[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    torch.manual_seed(5)
    network, bundle = Words().eval(), tmp_path / "bundle"
    export.bundle(network, bundle, inputs="tokens:int64[5]", labels=("no", "yes"), formats=("onnx",))
    model = onnx.load(bundle / "graph.onnx")
    tensor = next(one for one in model.graph.initializer if one.name == "network.words.weight")
    wrong = spoil(numpy_helper.to_array(tensor)).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(wrong, tensor.name))
    replace_file(bundle, "graph.onnx", model.SerializeToString())
    assert "words.weight differs from the model's" in str(reasons(judged(bundle, network))["graph.onnx"])


def test_weight_that_became_a_constant_of_the_graph_is_read(rare: tuple[nn.Module, Path], tmp_path: Path) -> None:
    network, original = rare
    bundle = copy_bundle(original, tmp_path / "bundle")
    model = onnx.load(bundle / "graph.onnx")
    tensor = next(one for one in model.graph.initializer if one.name == "network.words.weight")
    wrong = numpy_helper.to_array(tensor).copy()
    wrong[-1] = 0
    model.graph.node.insert(
        0, onnx.helper.make_node("Constant", [], [tensor.name], value=numpy_helper.from_array(wrong))
    )
    model.graph.initializer.remove(tensor)
    replace_file(bundle, "graph.onnx", model.SerializeToString())
    assert "words.weight differs from the model's in 4 of 12000" in str(reasons(judged(bundle, network))["graph.onnx"])


def test_kernels_times_batch_normalisation_are_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def costly(*_: object) -> NoReturn:
        raise AssertionError("it is exported anew")

    monkeypatch.setattr("evaluate.folded._exported_anew", costly)
    network, bundle = pictures(), tmp_path / "bundle"
    export.bundle(network, bundle, inputs="image:float32[1,8,8]", labels=("a", "b", "c"))
    certificate = judged(bundle, network)
    held = {held.graph: held for held in certificate.weights}
    assert (held["graph.onnx"].folded, held["graph.onnx"].differing) == (3, ())
    assert "; 3 are merged with the batch normalisation behind them; " in held["graph.onnx"].sentence
    assert held["graph.torchscript.pt"].equal == held["graph.torchscript.pt"].tensors

    def spoil(values: np.ndarray) -> None:
        values[0, 0, 1, 1] *= np.float32(1.0001)

    monkeypatch.undo()
    change_onnx(bundle, "network.second.weight", spoil)
    assert "second.weight differs" in str(reasons(judged(bundle, network))["graph.onnx"])
