"""TorchScript that reads or writes files is refused before any of it runs."""

import io
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.to_torchscript import load_torchscript
from export.torchscript_code import FILE_OPERATORS
from serve.bundle import BundleError

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
    with pytest.raises(BundleError, match=r"calls torch\.save, which reads or writes files"):
        load_torchscript(content)


@pytest.mark.parametrize(
    "call",
    [
        'torch.save(image, "a")',
        'torch . save (image, "a")',
        'ops.aten.save(image, "a")',
        'torch.from_file("a", True, 4)',
        'ops.image.read_file("a")',
        '(torch. # ")\n    save)(image, "a")',
        'y = "#"; torch.save(image, "a")',
        'y = "#"; (torch. # "\n save(image, "a"))',
    ],
)
def test_no_way_to_write_it_goes_unseen(call: str) -> None:
    hidden = _with_code(_scripted(_Plain()), "return torch.mul(image, 2)", f"{call}\n    return image")
    with pytest.raises(BundleError, match="reads or writes files"):
        load_torchscript(hidden)


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
