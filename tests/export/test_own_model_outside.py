"""What a network holds or reads that no graph can: compiled parts, things that cannot be copied, the clock, chance."""

import datetime
import os
import random
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm

import export
from export.errors import ExportError
from export.onnx_graph import GraphRunner
from export.preflight import preflight
from export.shared_weights import copy_sharing_weights, copy_whole
from tests.export.test_preflight import Net, draft_of


def scripted(make: Callable[[], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


@pytest.mark.parametrize(
    ("build", "part"),
    [
        pytest.param(lambda: Net(lambda n, x: n.s(x), s=torch.jit.script(nn.Linear(8, 8))), "s", id="scripted part"),
        pytest.param(
            lambda: Net(lambda n, x: n.s(x), s=torch.jit.trace(nn.Linear(8, 8), torch.rand(2, 8))), "s", id="traced"
        ),
        pytest.param(lambda: torch.jit.script(nn.Sequential(nn.Linear(4, 1))), "RecursiveScriptModule", id="whole"),
    ],
)
def test_compiled_parts_are_refused_by_name(build: Callable[[], nn.Module], part: str) -> None:
    draft = draft_of(lambda: scripted(build))
    with pytest.raises(
        ExportError, match=rf"^{part} is compiled by torch\.jit, but exporters read modules of Python; b"
    ):
        preflight(draft)


class Watcher:
    """A hook that holds what cannot be copied."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, *_: object) -> None: ...


def hooked() -> nn.Module:
    network = Net()
    network.first.register_forward_hook(Watcher())
    return network


@pytest.mark.parametrize(
    ("build", "what"),
    [
        pytest.param(hooked, "a hook on first", id="hook"),
        pytest.param(lambda: Net(lock=threading.Lock()), "lock of Net", id="lock"),
        pytest.param(lambda: Net(rows=(row for row in range(3))), "rows of Net", id="generator"),
    ],
)
@pytest.mark.parametrize("copy", [copy_whole, copy_sharing_weights])
def test_what_cannot_be_copied_is_named(
    build: Callable[[], nn.Module], what: str, copy: Callable[[nn.Module], nn.Module]
) -> None:
    message = rf"^{what} cannot be copied \(cannot pickle .*\), but what is exported is a copy, .*; take it off the"
    with pytest.raises(ExportError, match=message):
        copy(build())


def old(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return Net(lambda n, x: n.normed(x), normed=norm(nn.Linear(8, 8)))


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: old(old_weight_norm), id="weight_norm by a hook"),
        pytest.param(lambda: old(old_spectral_norm), id="spectral_norm by a hook"),
        pytest.param(lambda: old(parametrizations.weight_norm), id="weight_norm"),
        pytest.param(lambda: old(parametrizations.spectral_norm), id="spectral_norm"),
        pytest.param(lambda: old(parametrizations.orthogonal), id="orthogonal"),
    ],
)
@pytest.mark.parametrize("anew", [True, False])
def test_weights_that_are_made_of_parameters_pass(build: Callable[[], nn.Module], anew: bool) -> None:
    assert preflight(draft_of(build, anew=anew)).notes == ()


def cast_by_torch(network: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return network.layer(x).float()


def halved(network: nn.Module, x: Tensor) -> Tensor:
    return nn.functional.linear(x.half(), network.layer.weight.half()).float()


@pytest.mark.parametrize(
    ("then", "message"),
    [
        pytest.param(cast_by_torch, "layer computes addmm in bfloat16 in forward, where each runtime", id="autocast"),
        pytest.param(halved, "Net computes mm in float16 in forward, where each runtime rounds in its", id="half"),
    ],
)
def test_computing_in_half_precision_is_refused(then: Callable[[nn.Module, Tensor], Tensor], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        preflight(draft_of(lambda: Net(then, layer=nn.Linear(8, 8))))


def test_rounding_to_half_precision_is_exported() -> None:
    assert preflight(draft_of(lambda: Net(lambda _, x: x.bfloat16().float()[:, :].half().float()))).notes == ()


def by_the_hour(_: nn.Module, x: Tensor) -> Tensor:
    return x * (1 + 0 * int(time.time()))


def by_a_name_of_its_own(_: nn.Module, x: Tensor) -> Tensor:
    return x + 0 * monotonic()


def by_the_date(_: nn.Module, x: Tensor) -> Tensor:
    return x + 0 * datetime.datetime.now(tz=datetime.UTC).year


def by_the_environment(_: nn.Module, x: Tensor) -> Tensor:
    return x * 2 if os.environ.get("FACSIMILE_TEST_FAST") else x


def by_a_file(_: nn.Module, x: Tensor) -> Tensor:
    return x * len(Path(__file__).read_text(encoding="utf-8")[:1])


@pytest.mark.parametrize(
    ("then", "what"),
    [
        pytest.param(by_the_hour, "the clock (time.time)", id="time"),
        pytest.param(by_a_name_of_its_own, "the clock (time.monotonic)", id="imported by name"),
        pytest.param(by_the_date, "the clock (datetime.now)", id="date"),
        pytest.param(by_the_environment, "the environment variable FACSIMILE_TEST_FAST", id="environment"),
        pytest.param(by_a_file, "a file", id="file"),
    ],
)
def test_what_is_read_from_elsewhere_is_said(then: Callable[[nn.Module, Tensor], Tensor], what: str) -> None:
    profiler = sys.getprofile()
    (note,) = preflight(draft_of(lambda: Net(then))).notes
    assert note == (
        f"Net reads {what} in forward: a graph holds for good what came of it at the export; "
        "read it in __init__, or make it an input"
    )
    assert sys.getprofile() is profiler


def test_a_clock_that_changes_the_answer_is_refused() -> None:
    with pytest.raises(ExportError, match=r"Net reads the clock \(time\.perf_counter\) in forward, and gives other"):
        preflight(draft_of(lambda: Net(lambda _, x: x * (time.perf_counter() % 1))))


def seeded(_: nn.Module, x: Tensor) -> Tensor:
    random.seed(0)
    return x * random.random()


def seeded_numpy(_: nn.Module, x: Tensor) -> Tensor:
    np.random.seed(0)  # noqa: NPY002
    return x * float(np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize(("then", "name"), [(seeded, "random"), (seeded_numpy, "numpy.random")])
def test_chance_that_is_no_torchs_is_refused_also_with_a_seed(
    then: Callable[[nn.Module, Tensor], Tensor], name: str
) -> None:
    own, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    draft = draft_of(lambda: Net(then))
    with pytest.raises(ExportError, match=re.escape(f"Net draws from {name} in forward, or seeds it, so its answers")):
        preflight(draft)
    assert random.getstate() == own
    assert str(np.random.get_state()) == str(numpy)  # noqa: NPY002


def test_a_generator_of_its_own_that_is_not_used_is_no_chance() -> None:
    assert preflight(draft_of(lambda: Net(dice=random.Random(0)))).notes == ()


@pytest.mark.filterwarnings("ignore")
def test_an_index_of_minus_one_is_the_last_row_of_a_table_in_onnx(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(8, 2)).eval()
    export.bundle(network, tmp_path / "bundle", inputs="tokens:int64[2]", outputs=["y"], formats=["onnx"])
    runner = GraphRunner(tmp_path / "bundle" / "graph.onnx", ("y",))

    def answer(index: int) -> list[float]:
        return runner.run({"tokens": np.array([[1, index]])})["y"].tolist()

    with pytest.raises(IndexError):
        network(torch.tensor([[1, -1]]))
    assert answer(-1) == answer(19) != answer(18)
    for index in (-21, 20):
        with pytest.raises(Exception, match="out of data bounds"):
            answer(index)


@pytest.mark.filterwarnings("ignore")
def test_an_operation_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    network = nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)))
    message = r"calls aten\.linalg_matrix_exp in forward, which torch .* cannot write as ONNX; use other operations, or"
    with pytest.raises(ExportError, match=message):
        export.bundle(network, tmp_path / "bundle", inputs="x:float32[4]", outputs=["y"], formats=["onnx"])


def importing(_: nn.Module, x: Tensor) -> Tensor:
    import tests.export.reads_a_file_when_imported as module

    return x * module.ONE


def test_what_is_read_by_an_import_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tests.export.reads_a_file_when_imported", raising=False)
    assert preflight(draft_of(lambda: Net(importing))).notes == ()
