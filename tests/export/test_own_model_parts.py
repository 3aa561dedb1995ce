"""The factory and the weights that the user names: what is read, what is refused, and in what words."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from export.errors import ExportError
from export.factory import build_module, load_factory, parse_args
from export.from_factory import draft_of_factory
from export.network_outputs import flatten_outputs, only_output
from export.weights import load_weights, read_weights
from tests.export import own_files
from tests.export.own_files import command


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with somebody's network; what importing it adds to the path is taken off again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("net", "broken", "json"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return own_files.place(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("net", "--factory is 'net', but package.module:callable or", id="no colon"),
        pytest.param("net.py:", r"--factory is 'net\.py:', but package\.module:callable or", id="no name"),
        pytest.param("net.py:a-b", r"is 'net\.py:a-b', but package\.module:callable or", id="no identifier"),
        pytest.param("no.py:Net", r"--factory names file no\.py, but it does not exist", id="no file"),
        pytest.param("nowhere:Net", "names module nowhere, but there is no nowhere here", id="no module"),
        pytest.param("nowhere.at.all:Net", "but there is no nowhere here or among the installed", id="no package"),
        pytest.param(
            "net.py:Nett", r"net\.py has no Nett; its own callables are: Net, Ending, Rows", id="no such name"
        ),
        pytest.param("net.py:number", r"--factory net\.py:number is a int, but a class or a function", id="number"),
        pytest.param("broken.py:Net", r"cannot be imported \(ValueError: too early\); mend the module", id="raises"),
        pytest.param("script.py:Net", r"cannot be imported \(SystemExit: 0\); mend the module", id="exits"),
        pytest.param("needs.py:Net", r"cannot be imported \(ModuleNotFoundError: No module named 'timmm'", id="needs"),
    ],
)
def test_factories_that_cannot_be_had(text: str, message: str, here: Path) -> None:
    (here / "broken.py").write_text("raise ValueError('too early')", encoding="utf-8")
    (here / "script.py").write_text("raise SystemExit(0)", encoding="utf-8")
    (here / "needs.py").write_text("import timmm", encoding="utf-8")
    with pytest.raises(ExportError, match=message):
        load_factory(text)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        pytest.param(
            "Net", {"klasses": 3}, r"are klasses=3, but net\.py:Net takes \(classes=3, width=4\) \(.*klasses", id="args"
        ),
        pytest.param("build", {"width": "x"}, r"net\.py:build cannot be called with width='x' \(TypeError", id="type"),
        pytest.param("build_broken", {}, r"with none \(ZeroDivisionError: nothing to divide by\)", id="raises"),
        pytest.param("build_nothing", {}, r"built a str, but a torch\.nn\.Module was expected", id="no module"),
    ],
)
def test_factories_that_build_nothing(name: str, args: dict[str, int | str], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        build_module(load_factory(f"net.py:{name}"), args)


def test_a_factory_is_named_without_its_folder(here: Path) -> None:
    by_file, by_module = load_factory(f"{here}/net.py:Net"), load_factory("net:Net")
    assert (by_file.name, by_module.name) == ("net.py:Net", "net:Net")
    assert by_file.sha256 == by_module.sha256 is not None


def test_a_file_called_like_a_package_does_not_take_its_place(here: Path) -> None:
    import json

    sys.modules["json"] = json
    (here / "json.py").write_text("from torch.nn import Identity as Net", encoding="utf-8")
    load_factory("json.py:Net")
    assert sys.modules["json"] is json


def test_arguments_are_read_as_what_they_look_like() -> None:
    texts = ("a=3", "b=-0.5", "c=True", "d=false", "e=relu", "f='3'", "g=1e-3", "h=a=b", "i=")
    values = [3, -0.5, True, False, "relu", "3", 0.001, "a=b", ""]
    assert parse_args(texts) == dict(zip("abcdefghi", values, strict=True))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param(("classes",), "--factory-args has 'classes', but name=value was expected", id="no value"),
        pytest.param(("a=1", "a=2"), "--factory-args gives a twice", id="twice"),
        pytest.param(("sizes=[3,4]",), r"sizes is \[3,4\], a list, but an int, a float, a bool or text", id="list"),
    ],
)
def test_arguments_that_cannot_be_read(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        parse_args(texts)


def _saved(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


LAYER = nn.Linear(2, 2)


def _with_a_damaged_list(path: Path) -> None:
    torch.save(LAYER.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\x01\x02", b"PK\x00\x00"))


def _half_saved(path: Path) -> None:
    torch.save(LAYER.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _bent_inside(path: Path) -> None:
    torch.save(LAYER.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[:300] + b"\xff" * 200 + content[500:])


_AGAIN = r"copy it again, or save the weights alone with torch\.save\(model\.state_dict\(\), 'weights\.pt'\)$"
_NO_END = rf"^--weights \S+\.pt is damaged or cut short: its end is missing; {_AGAIN}"
_NOT_TORCHS = rf"^--weights \S+\.pt was not written by torch\.save, or is damaged or cut short; {_AGAIN}"


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        pytest.param("none.pt", Path.exists, r"none\.pt does not exist, but a \.pt, \.pth", id="missing"),
        pytest.param("folder.pt", lambda path: path.mkdir(), r"folder\.pt is a folder, but a", id="folder"),
        pytest.param("a.h5", lambda path: path.touch(), r"a\.h5 ends in \.h5, but \.pt, \.pth or", id="suffix"),
        pytest.param(
            "whole.pt",
            _saved(LAYER),
            r"holds a pickled torch\.nn\.modules\.linear\.Linear, .* save the weights alone with torch\.save",
            id="whole model",
        ),
        pytest.param("torn.pt", lambda path: path.write_bytes(b"PK\x03\x04torn"), _NO_END, id="torn"),
        pytest.param("half.pt", _half_saved, _NO_END, id="half"),
        pytest.param("bent.pt", _bent_inside, rf"bent\.pt is damaged inside; {_AGAIN}", id="bent inside"),
        pytest.param("centre.pt", _with_a_damaged_list, rf"centre\.pt is damaged .*; {_AGAIN}", id="damaged list"),
        pytest.param("text.pt", lambda path: path.write_bytes(b"hello"), _NOT_TORCHS, id="text"),
        pytest.param("empty.pt", lambda path: path.touch(), rf"empty\.pt is empty; {_AGAIN}", id="empty"),
        pytest.param(
            "newer.pt",
            lambda path: path.write_bytes(pickle.dumps({"a": [1]}, protocol=4)),
            _NOT_TORCHS,
            marks=pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
            id="a pickle of Python's own",
        ),
        pytest.param(
            "sparse.pt",
            _saved({"weight": torch.eye(2).to_sparse()}),
            r"sparse\.pt: weight is sparse, but dense values were expected; save it as tensor\.to_dense\(\)",
            id="sparse",
        ),
        pytest.param(
            "csr.pt",
            lambda path: torch.save({"weight": torch.eye(2).to_sparse_csr()}, path),
            "weight is sparse, but dense",
            marks=pytest.mark.filterwarnings("ignore:Sparse"),
            id="sparse by rows",
        ),
        pytest.param(
            "meta.pt",
            _saved({"weight": torch.eye(2, device="meta")}),
            "weight is on device meta, without values, but dense values were expected; load the weights before",
            id="meta",
        ),
        pytest.param("number.pt", _saved(3), "holds no weights, but tensors by name, alone or under state_d", id="3"),
        pytest.param("nothing.pt", _saved({}), "holds nothing, but tensors by name", id="no tensors"),
        pytest.param(
            "other.pt",
            _saved({"epoch": 3, "optimizer": {}, "loss": 0.5, "lr": 1}),
            "holds a dictionary of epoch, optimizer, loss and 1 more, but tensors by name",
            id="other dictionary",
        ),
        pytest.param(
            "torn.safetensors",
            lambda path: path.write_bytes(b"torn"),
            "cannot be read as safetensors",
            id="safetensors",
        ),
    ],
)
def test_weights_that_cannot_be_read(name: str, write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(ExportError, match=message) as caught:
        read_weights(tmp_path / name)
    assert "weights_only" not in str(caught.value)


def averaged(layer: nn.Module) -> dict[str, torch.Tensor]:
    return {"n_averaged": torch.tensor(3), **{f"module.{name}": value for name, value in layer.state_dict().items()}}


OTHER = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("content", "names", "first"),
    [
        pytest.param({"model": LAYER.state_dict(), "model_ema": OTHER.state_dict()}, "model, model_ema", "model"),
        pytest.param(
            {"ema_state_dict": averaged(OTHER), "state_dict": LAYER.state_dict(), "epoch": 3},
            "state_dict, ema_state_dict",
            "state_dict",
        ),
        pytest.param({"teacher": LAYER.state_dict(), "student": nn.Linear(9, 9).state_dict()}, "teacher, stud", "teac"),
    ],
)
def test_of_several_sets_of_weights_the_user_says_which(
    content: dict[str, object], names: str, first: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "a.pt")
    message = f"holds several sets of weights, under {names}.*say which with --weights-key, such as .*key {first}"
    with pytest.raises(ExportError, match=message):
        read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize(("key", "expected"), [("model", LAYER), ("model_ema", OTHER)])
def test_the_key_takes_one_set_and_names_the_other(key: str, expected: nn.Module, tmp_path: Path) -> None:
    sets = {"model": LAYER.state_dict(), "model_ema": OTHER.state_dict()}
    torch.save({**sets, "epoch": 3}, tmp_path / "a.pt")
    weights = read_weights(tmp_path / "a.pt", key)
    assert torch.equal(weights.tensors["weight"], expected.state_dict()["weight"])
    (other,) = sets.keys() - {key}
    assert weights.notes == (f"the weights stand under {key!r} in a.pt, those under {other} are left out",)


def test_what_is_no_second_set_of_weights_stands_in_nobodys_way(tmp_path: Path) -> None:
    torch.save({"net": LAYER.state_dict(), "epoch": 3}, tmp_path / "a.pt")
    torch.save({"model": LAYER.state_dict(), "scaler": {"mean": torch.zeros(7)}}, tmp_path / "b.pt")
    assert read_weights(tmp_path / "a.pt").notes == ("the weights stand under 'net' in a.pt",)
    assert read_weights(tmp_path / "b.pt").notes == ("the weights stand under 'model' in b.pt",)


def test_a_key_that_names_no_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"model": LAYER.state_dict(), "ema": OTHER.state_dict(), "epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(ExportError, match=r"--weights-key is 'epoch', but --weights .* under model, ema; give one of"):
        read_weights(tmp_path / "a.pt", "epoch")
    torch.save(LAYER.state_dict(), tmp_path / "b.pt")
    with pytest.raises(ExportError, match=r"'model', but --weights .*b\.pt holds one set of weights, under no name; l"):
        read_weights(tmp_path / "b.pt", "model")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_archive_is_told_from_weights(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(LAYER, torch.zeros(1, 2)), tmp_path / "graph.pt")
    with pytest.raises(ExportError, match="is a TorchScript archive, a whole program"):
        read_weights(tmp_path / "graph.pt")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_are_found_where_training_scripts_put_them(wrapper: str | None, prefix: str, tmp_path: Path) -> None:
    state = {prefix + key: value for key, value in LAYER.state_dict().items()}
    torch.save({"epoch": 3, wrapper: state} if wrapper else state, tmp_path / "a.pt")
    other = nn.Linear(2, 2)
    notes = load_weights(other, read_weights(tmp_path / "a.pt"), source="a.pt")
    assert torch.equal(other.weight, LAYER.weight)
    assert len(notes) == bool(wrapper) + prefix.count(".")


def test_a_networks_own_prefix_stays(tmp_path: Path) -> None:
    network = nn.ModuleDict({"module": nn.Linear(2, 2)})
    torch.save(network.state_dict(), tmp_path / "a.pt")
    assert load_weights(network, read_weights(tmp_path / "a.pt"), source="a.pt") == ()


def test_safetensors_hold_the_same_weights(here: Path) -> None:
    save_file(own_files.build("Net").state_dict(), here / "net.safetensors")
    draft, _ = draft_of_factory(command(weights="net.safetensors"))
    for key, value in own_files.build("Net").state_dict().items():
        assert torch.equal(draft.weights[key], value)
    assert draft.provenance.training == {"weights": "net.safetensors"}


def test_shared_tensors_may_be_left_out_as_safetensors_leaves_them_out(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        network[1].weight = network[0].weight
        return network

    first, second = tied(), tied()
    save_file({"0.weight": first[0].weight.detach()}, tmp_path / "a.safetensors")
    load_weights(second, read_weights(tmp_path / "a.safetensors"), source="a")
    assert torch.equal(second[1].weight, first[0].weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32_and_it_is_said(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save({key: value.to(dtype) for key, value in LAYER.state_dict().items()}, tmp_path / "a.pt")
    network = nn.Linear(2, 2).half()
    (note,) = load_weights(network, read_weights(tmp_path / "a.pt"), source="a.pt")
    assert note == f"2 of 2 tensors are {str(dtype).removeprefix('torch.')}; they were converted to float32"
    assert network.weight.dtype == torch.float32


def _renamed(change: Callable[[str], str]) -> dict[str, torch.Tensor]:
    return {change(key): value for key, value in nn.Sequential(LAYER, LAYER).state_dict().items()}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        pytest.param(
            {"0.weight": LAYER.weight},
            r"w\.pt does not fit Sequential: it lacks 0\.bias, 1\.weight, 1\.bias; build the network as it was",
            id="missing",
        ),
        pytest.param(
            {**_renamed(str), "2.weight": LAYER.weight},
            r"it has 2\.weight, which the network does not know",
            id="unexpected",
        ),
        pytest.param(
            _renamed(lambda key: "x" + key),
            r"it lacks 0\.weight, 0\.bias, 1\.weight and 1 more and has x0\.weight, x0\.bias, x1\.weight and 1 more",
            id="both",
        ),
        pytest.param(
            _renamed(lambda key: "backbone." + key),
            r"its names start with 'backbone\.': save model\.backbone\.state_dict\(\) instead",
            id="a prefix too many",
        ),
        pytest.param(
            {"weight": LAYER.weight, "bias": LAYER.bias},
            r"the network's names start with '0\.': name the inner network as --factory",
            id="a prefix too few",
        ),
        pytest.param(
            {**_renamed(str), "1.weight": torch.zeros(5, 2)},
            r"1 of 4 tensors have another shape \(1\.weight is \[5, 2\], not \[2, 2\]\); build it as it was trained",
            id="shape",
        ),
        pytest.param(
            {**_renamed(str), "1.weight": torch.zeros(2, 2, dtype=torch.int8)},
            r"1\.weight is int8, but float32 was expected; give the weights from before they were quantised",
            id="quantised",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(state: dict[str, torch.Tensor], message: str, tmp_path: Path) -> None:
    torch.save({key: value.detach() for key, value in state.items()}, tmp_path / "w.pt")
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ExportError, match=message):
        load_weights(network, read_weights(tmp_path / "w.pt"), source="w.pt")


def test_outputs_are_named_like_what_holds_them() -> None:
    from collections import namedtuple

    one, two = torch.zeros(2, 1), torch.ones(2, 1)
    pair = namedtuple("Pair", "first second")
    assert list(flatten_outputs(one)) == ["output_0"]
    assert list(flatten_outputs((one, two))) == ["output_0", "output_1"]
    assert list(flatten_outputs(pair(one, two))) == ["first", "second"]
    assert list(flatten_outputs({"out": one, "aux": None})) == ["out"]
    assert only_output({"logits": torch.zeros(4)}).shape == (4, 1)
    with pytest.raises(ExportError, match="forward returns output_0, output_1, but one output was expected"):
        only_output((one, two))


def test_noise_depends_on_nothing_but_the_input(here: Path) -> None:
    drafts = [draft_of_factory(command())[0] for _ in range(2)]
    assert np.array_equal(drafts[0].golden_inputs["image"], drafts[1].golden_inputs["image"])
    assert set(drafts[0].golden_kind.tolist()) == {"random", "zeros", "full"}
