"""TorchScript that reads or writes files is refused before any of it runs."""

import io
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.jit._serialization import save_jit_module_to_flatbuffer

from export.errors import ExportError
from export.to_torchscript import export_torchscript, load_torchscript
from export.torchscript_code import FILE_OPERATORS
from serve.bundle import BundleError, TensorSpec

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class _Writes(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        torch.save(image, "written.pt")
        return image


class _Plain(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image * 2


def _scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def _with_code(content: bytes, old: str, new: str) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(changed, "w") as target:
        for member in source.infolist():
            record = source.read(member)
            if member.filename.endswith(".py"):
                assert old in record.decode()
                record = record.decode().replace(old, new).encode()
            target.writestr(member.filename, record)
    return changed.getvalue()


def test_a_graph_that_writes_a_file_is_refused_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = _scripted(_Writes())
    torch.jit.load(io.BytesIO(content))(torch.ones(1))  # the operator is what it is held to be
    assert (tmp_path / "written.pt").exists()
    with pytest.raises(BundleError, match=r"names save, which reads or writes files"):
        load_torchscript(content)


@pytest.mark.parametrize(
    "call",
    [
        'torch.save(image, "a")',
        'torch . save (image, "a")',
        'torch\r.\x0c\x0bsave(image, "a")',
        'torch.\ufeffsave(image, "a")',
        'ops.aten.save(image, "a")',
        '(torch).save(image, "a")',
        '(ops.aten).save(image, "a")',
        '(ops).aten.save(image, "a")',
        't = torch\n    t.save(image, "a")',
        's = torch.save\n    s(image, "a")',
        'torch.from_file("a", True, 4)',
        'ops.image.read_file("a")',
        'getattr(torch, "save")(image, "a")',
        'getattr(getattr(ops, "aten"), "save")(image, "a")',
        r'getattr(torch, "s\141ve")(image, "a")',
        'y = "#"; torch.save(image, "a")',
        'y = "\\"", torch.save(image, "a")',
    ],
)
def test_no_way_to_write_it_goes_unseen(call: str) -> None:
    hidden = _with_code(_scripted(_Plain()), "return torch.mul(image, 2)", f"{call}\n    return image")
    with pytest.raises(BundleError, match=r"names (save|from_file|read_file), which reads or writes files"):
        load_torchscript(hidden)


@pytest.mark.parametrize(
    "call",
    [
        'torch.\\\nsave(image, "a")',
        '(torch. # ")\n    save)(image, "a")',
        'y = "#"; (torch. # "\n save(image, "a"))',
        """y = ('"', torch.save(image, "a"), '"')""",
        'y = """ " """, torch.save(image, "a")',
        'getattr(torch, "sa" "ve")(image, "a")',
        'getattr(torch, "sa""ve")(image, "a")',
        'getattr(torch, "sa"\n      "ve")(image, "a")',
        "getattr(torch, 'save')(image, \"a\")",
        'getattr(torch, """save""")(image, "a")',
        'y = "\x00", torch.save(image, "a")',
    ],
)
def test_code_is_read_only_as_torch_writes_it(call: str) -> None:
    hidden = _with_code(_scripted(_Plain()), "return torch.mul(image, 2)", f"{call}\n    return image")
    with pytest.raises(BundleError, match="holds code as torch does not write it"):
        load_torchscript(hidden)


def _records(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.endswith(".debug_pkl")]
        return {name.removeprefix("archive/"): archive.read(name) for name in names}


def _archive(records: list[tuple[str, bytes]], prefix: str = "archive") -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that are there twice
        for name, record in records:
            archive.writestr(f"{prefix}/{name}", record)
    return buffer.getvalue()


def _hidden_archives() -> dict[str, bytes]:
    """Return archives that torch finds code in which writes a file, where one may not look."""
    records = _records(_scripted(_Plain()))
    (name,) = (name for name in records if name.endswith(".py"))
    own, long = name.removeprefix("code/").removesuffix(".py").replace("/", ".").encode(), b"__torch__." + b"q" * 600
    right = records.pop(name)
    wrong = right.replace(b"return torch.mul(image, 2)", b'torch.save(image, "written.pt")\n    return image')
    assert wrong != right
    others = list(records.items())
    moved = [(other, record.replace(b"c%s\n" % own, b"c%s\n" % long)) for other, record in others]
    assert moved != others
    return {
        "another case": _archive([*others, (name.removesuffix("py") + "PY", wrong)]),
        "twice": _archive([*others, (name, wrong), (name, right)]),
        "twice, in another case": _archive([*others, (name.upper(), wrong), (name, right)]),
        "a name too long for the list": _archive(
            [*moved, (f"code/__torch__/{'q' * 600}.py", wrong.replace(b"%s._" % own, b"%s._" % long))]
        ),
        "too long by its folder": _archive([*others, (name, wrong)], prefix="p" * 500),
    }


def test_code_is_found_wherever_torch_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for where, content in _hidden_archives().items():
        torch.jit.load(io.BytesIO(content))(torch.ones(1))
        assert (tmp_path / "written.pt").exists(), where
        (tmp_path / "written.pt").unlink()
        with pytest.raises(BundleError, match=r"names save, which reads|with the same name, or names that torch does"):
            load_torchscript(content)


def test_formats_of_other_times_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a file is one thing for torch, and another for whoever looks for an archive at its end."""
    monkeypatch.chdir(tmp_path)
    save_jit_module_to_flatbuffer(torch.jit.script(_Writes()), "flat")
    plain = _scripted(_Plain())
    flat = (tmp_path / "flat").read_bytes() + plain
    torch.jit.load(io.BytesIO(flat))(torch.ones(1))
    assert (tmp_path / "written.pt").exists()
    for content in (flat, plain[:4] + b"PTMF" + plain[8:], b"#!" + plain):
        with pytest.raises(BundleError, match=r"cannot be read \(it begins with b'.*', no archive\)"):
            load_torchscript(content)
    with pytest.raises(BundleError, match="or names that torch does not write"):
        load_torchscript(_archive([*_records(plain).items(), ("model.json", b"{}")]))
    with pytest.raises(BundleError, match=r"cannot be read \(.*not in a subdirectory"):
        load_torchscript(_archive([*_records(plain).items()]).replace(b"archive/code/", b"archive_code/"))


class _Named(nn.Module):
    """A network with parts that are called as one likes."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(3, 3)})

    def forward(self, save: Tensor) -> tuple[Tensor]:
        for part in self.parts.values():
            save = part(save)
        return (save,)


def _export(name: str, folder: Path) -> Path:
    path = folder / "graph.torchscript.pt"
    logits = TensorSpec(name="logits", dtype="float32", shape=("batch", 3))
    export_torchscript(_Named(name).eval(), (torch.ones(2, 3),), path, outputs=(logits,))
    return path


@pytest.mark.parametrize("name", ["0", "it's", "a-save", "c#d", "e f", "getattr", "saved", "autosave"])
def test_parts_may_have_any_other_name(name: str, tmp_path: Path) -> None:
    assert load_torchscript(_export(name, tmp_path).read_bytes())(torch.ones(5, 3))[0].shape == (5, 3)


@pytest.mark.parametrize("name", ["save", "read_file"])
def test_a_part_that_is_called_like_an_operator_on_files_is_refused_when_it_is_exported(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=rf"the network names {name}, .* give the attribute, class or module"):
        _export(name, tmp_path)


@pytest.mark.parametrize("name", ['a"b', "\\", "a\nb"])
def test_a_part_whose_name_torch_cannot_read_is_refused_when_it_is_exported(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a quote, backslash or new line in the name of a part"):
        _export(name, tmp_path)


def test_what_only_computes_is_loaded() -> None:
    assert load_torchscript(_scripted(_Plain()))(torch.ones(1)).item() == 2


def test_bytes_that_are_no_archive_are_refused() -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        load_torchscript(b"PTMF, which torch would read as another format")


def test_every_operator_of_this_torch_that_takes_the_name_of_a_file_is_listed() -> None:
    named = {
        schema.name.split("::")[1]
        for schema in torch._C._jit_get_all_schemas()
        if any("file" in argument.name or argument.name == "path" for argument in schema.arguments)
        and any(str(argument.type) == "str" for argument in schema.arguments)
    }
    assert {"save", "from_file"} <= named
    assert named <= {*FILE_OPERATORS, "einsum"}, "einsum's path is an order of products"
