"""Every trap, through every format: refused at export, or caught by the certificate; the right twin passes all."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluate.judge import certify
from evaluate.runners import candidates
from export.errors import ExportError
from export.formats import FORMATS
from export.progress import Listener
from export.write import write_bundle
from serve.bundle import read_bundle
from tests.export.test_preflight import REFUSED, Net, Wave, WithBuffer, draft_of
from tests.train.broken_blocks import LoopOnData, LoopPerBatch, aliased_regular_net, broken_chimera

EACH_FORMAT = pytest.mark.parametrize("name", list(FORMATS))
CAPTURED = ("onnx", "torchscript", "exported-program")  # by an exporter of torch; the others are made from graph.onnx


def outcome(build: Callable[[], nn.Module], formats: tuple[str, ...], folder: Path, *, features: int = 4) -> str:
    """Export and certify; returns ``refused``, ``caught`` or ``passed``, and why."""
    draft = draft_of(build, anew=False, features=features)  # so that nothing but forward itself gives it away
    rows = np.random.default_rng(5).normal(size=(64, features)).astype(np.float32)
    try:
        write_bundle(folder / "bundle", replace(draft, calibration={"x": rows}), formats=formats)
    except ExportError as error:
        return f"refused: {error}"
    network = draft.module.get_submodule("network")
    certificate = certify(read_bundle(folder / "bundle"), data_root=folder, module=network, provider="cpu")
    if certificate.passed:
        return "passed"
    reasons = [graph.reason for graph in certificate.graphs] + [c.detail for c in certificate.checks if not c.passed]
    return f"caught: {reasons}"


def branch(_: nn.Module, x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def branch_on_item(_: nn.Module, x: Tensor) -> Tensor:
    return x * (2 if x[0, 0].item() > 0 else 3)


def through_a_float(_: nn.Module, x: Tensor) -> Tensor:
    return x * float(x.max())


def through_a_list(_: nn.Module, x: Tensor) -> Tensor:
    return torch.tensor(x.tolist(), dtype=x.dtype)


def through_numpy(_: nn.Module, x: Tensor) -> Tensor:
    return torch.from_numpy(np.abs(x.detach().numpy()))


def branch_on_largest(_: nn.Module, x: Tensor) -> Tensor:
    return x / x.max() if bool((x > 100).any()) else x


def loop_until_small(_: nn.Module, x: Tensor) -> Tensor:
    while x.norm() > 1:
        x = x / 2
    return x


def another_at_one_row(_: nn.Module, x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] == 1 else x


def another_above_16_rows(_: nn.Module, x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] > 16 else x


def loop_over_rows(_: nn.Module, x: Tensor) -> Tensor:
    return torch.stack([row * 2 for row in x])


def fixed_rows(_: nn.Module, x: Tensor) -> Tensor:
    return x.reshape(2, 8) if x.shape[0] == 2 else x


def int_of_shape(_: nn.Module, x: Tensor) -> Tensor:
    return x.reshape(int(x.shape[0]), 2, 4).flatten(1)


def zeros_of_int(_: nn.Module, x: Tensor) -> Tensor:
    return x + torch.zeros(int(x.shape[0]), 8, dtype=x.dtype)


def len_of_batch(_: nn.Module, x: Tensor) -> Tensor:
    return x.reshape(len(x), 8) * 2


def list_of_shape(_: nn.Module, x: Tensor) -> Tensor:
    return x.expand([int(size) for size in x.shape]) * 2


NEVER = (branch, branch_on_item, branch_on_largest, loop_until_small, another_at_one_row, another_above_16_rows)
DECISIONS = [
    branch,
    branch_on_item,
    branch_on_largest,
    loop_until_small,
    through_a_float,
    through_a_list,
    through_numpy,
    another_at_one_row,
    another_above_16_rows,
]
BATCHES = [fixed_rows, loop_over_rows, int_of_shape, zeros_of_int, len_of_batch, list_of_shape]


def runs_as_eager(build: Callable[[], nn.Module], folder: Path) -> bool:
    """Compare a graph that passed with PyTorch once more, plainly, on rows that nobody has seen."""
    draft = draft_of(build, anew=False)
    bundle = read_bundle(folder / "bundle")
    close = []
    for candidate in candidates(bundle, provider="cpu"):
        assert candidate.runner is not None, candidate.fault
        for rows in (1, 3, 50):
            for scale in (0.01, 1, 30):
                x = (np.random.default_rng(rows).normal(size=(rows, 4)) * scale).astype(np.float32)
                (actual,) = candidate.runner.run({"x": x}).values()
                with torch.no_grad():
                    (expected,) = draft.module(torch.from_numpy(x))
                close.append(np.allclose(actual, expected.numpy(), rtol=1e-4, atol=1e-5 * scale))
    return all(close)


@pytest.mark.parametrize("then", [*DECISIONS, *BATCHES], ids=lambda then: then.__name__)
@pytest.mark.parametrize("name", CAPTURED)
def test_no_wrong_graph_passes(then: Callable[[nn.Module, Tensor], Tensor], name: str, tmp_path: Path) -> None:
    found = outcome(lambda: Net(then), (name,), tmp_path)
    if found == "passed":  # a newer exporter may hold what older ones bake in; then it must be right
        assert then not in NEVER
        assert name != "torchscript"
        assert runs_as_eager(lambda: Net(then), tmp_path)
    else:
        assert found.startswith(("refused: ", "caught: "))
        assert "\n" not in found


@pytest.mark.parametrize("build", [LoopOnData, LoopPerBatch, broken_chimera], ids=lambda build: build.__name__)
@pytest.mark.parametrize("name", CAPTURED)
def test_a_broken_block_is_refused(build: Callable[[], nn.Module], name: str, tmp_path: Path) -> None:
    found = outcome(build, (name,), tmp_path, features=20)
    assert found.startswith("refused: ")
    assert "\n" not in found


@EACH_FORMAT
@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_what_is_refused_is_refused_for_every_format(
    build: Callable[[], nn.Module], message: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError) as caught:
        write_bundle(tmp_path / "bundle", draft_of(build), formats=(name,))
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in CAPTURED])
def test_other_formats_are_made_from_the_graph_that_was_checked(name: str, tmp_path: Path) -> None:
    assert "from graph.onnx, which is not written" in outcome(Net, (name,), tmp_path)
    found = outcome(lambda: Net(another_at_one_row), ("onnx", name), tmp_path)
    assert found.startswith("caught: ")


def test_a_graph_that_mixes_rows_is_marked(tmp_path: Path) -> None:
    def centred(_: nn.Module, x: Tensor) -> Tensor:
        return x - x.mean()

    notes: list[str] = []
    manifest = write_bundle(
        tmp_path / "bundle",
        draft_of(lambda: Net(centred)),
        formats=("onnx", "torchscript"),
        listener=Listener(on_note=notes.append),
    )
    assert not manifest.row_independent
    assert read_bundle(tmp_path / "bundle").manifest == manifest
    assert "mixes the rows of a batch" in " ".join(notes)
    assert write_bundle(tmp_path / "bundle", draft_of(Net), formats=()).row_independent


class Names(nn.Module):
    """Names that are no identifiers, and one that takes the place of what torch calls its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"block 0": nn.Linear(4, 8), "a/b-c": nn.Linear(8, 8), "weight": nn.Linear(8, 1)})

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers.values():
            x = layer(x)
        return x


def tied() -> nn.Module:
    shared = nn.Linear(64, 64)
    return nn.Sequential(nn.Linear(4, 64), shared, shared, shared, nn.Linear(64, 1))


TWINS = [
    pytest.param(Net, id="plain"),
    pytest.param(Names, id="names with spaces"),
    pytest.param(tied, id="tied"),
    pytest.param(aliased_regular_net, id="one block four times"),
    pytest.param(lambda: Net(lambda _, x: torch.where(x.sum(1, keepdim=True) > 0, x, -x)), id="branch per row"),
    pytest.param(lambda: Net(lambda _, x: x.reshape(x.shape[0], 2, 4).flatten(1)), id="shape kept open"),
    pytest.param(lambda: Net(lambda n, x: n.drop(n.norm(x)), drop=nn.Dropout(), norm=nn.BatchNorm1d(8)), id="dropout"),
    pytest.param(lambda: Net(lambda n, x: x + n.first.bias.detach()), id="detached"),
    pytest.param(lambda: WithBuffer(lambda n, x: x * n.kept, torch.rand(8)), id="constant in a buffer"),
]


@pytest.mark.slow
@pytest.mark.parametrize("build", TWINS)
def test_the_right_twin_passes_every_format(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    assert outcome(build, CAPTURED, tmp_path) == "passed"
    assert runs_as_eager(build, tmp_path)


def test_a_function_with_a_gradient_of_its_own_is_held_or_refused(tmp_path: Path) -> None:
    def build() -> nn.Module:
        return Net(lambda _, x: Wave.apply(x))

    assert outcome(build, ("onnx", "exported-program"), tmp_path) == "passed"
    assert runs_as_eager(build, tmp_path)
    with pytest.raises(
        ExportError,
        match=r"torchscript cannot hold this network \(Could not export Python function call 'Wave'.*"
        r"leave torchscript out of --formats",
    ):
        write_bundle(tmp_path / "other", draft_of(build), formats=("torchscript",))


def test_a_name_that_torchscript_cannot_read_is_refused_there_alone(tmp_path: Path) -> None:
    def build() -> nn.Module:
        return nn.Sequential(OrderedDict([("größe", nn.Linear(4, 8)), ("last", nn.Linear(8, 1))]))

    assert outcome(build, ("onnx", "exported-program"), tmp_path) == "passed"
    with pytest.raises(ExportError, match=r"torchscript cannot hold this network .*plain names"):
        write_bundle(tmp_path / "other", draft_of(build), formats=("torchscript",))


def test_the_plain_network_passes_all_formats_together(tmp_path: Path) -> None:
    assert outcome(Net, tuple(FORMATS), tmp_path) == "passed"


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    manifest = write_bundle(tmp_path / "bundle", draft_of(tied), formats=("onnx", "torchscript"))
    once = 4 * sum(parameter.numel() for parameter in tied().parameters())
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    for name in ("graph.onnx", "graph.torchscript.pt", "state_dict.pt"):
        assert once < sizes[name] < once + 4 * 64 * 64, name
    network = tied()
    network.load_state_dict(torch.load(tmp_path / "bundle" / "state_dict.pt", weights_only=True))
    assert network[1].weight is network[2].weight
