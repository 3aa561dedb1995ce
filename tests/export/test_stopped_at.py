"""Where an exporter stops is told as the user knows it: part, operator, file, line."""

from pathlib import Path

import pytest
import torch

from export.__main__ import main

SOURCE = """
import torch
from torch import nn


class Spectrum(nn.Module):
    def forward(self, x):
        gram = x.unsqueeze(2) * x.unsqueeze(1)
        return torch.linalg.eigvalsh(gram + torch.eye(x.shape[1]))


class Inside(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(4, 4), Spectrum())
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.blocks(x))


class Itself(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.special.bessel_j0(x))


class Torchs(nn.Sequential):
    def __init__(self):
        super().__init__(nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), nn.Linear(4, 3))


class Choice(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(Choice(), nn.Linear(4, 3))

    def forward(self, x):
        return self.parts(x)
"""
PARTS = "parametrizations.weight.0"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "form", "told"),
    [
        pytest.param(
            "Inside",
            "onnx",
            "error: blocks.1 (Spectrum) calls aten._linalg_eigh in forward, at net.py:9 "
            "(return torch.linalg.eigvalsh(gram + torch.eye(x.shape[1]))), which torch ",
            id="in a part",
        ),
        pytest.param(
            "Itself",
            "onnx",
            "error: Itself calls prims.bessel_j0 in forward, at net.py:28 "
            "(return self.head(torch.special.bessel_j0(x))), which torch ",
            id="in the network itself",
        ),
        pytest.param(
            "Torchs",
            "onnx",
            f"error: 0.{PARTS} (_Orthogonal) calls aten.linalg_matrix_exp in forward, which torch ",
            id="in torch's own lines",
        ),
        pytest.param(
            "Branch",
            "onnx",
            "error: parts.0 (Choice), at net.py:38 (if x.sum() > 0:), decides by its data, but an ONNX graph holds",
            id="a branch",
        ),
        pytest.param(
            "Branch",
            "exported-program",
            "error: parts.0 (Choice), at net.py:38 (if x.sum() > 0:), decides by its data, but an exported ",
            id="a branch, captured",
        ),
    ],
)
def test_the_part_the_operator_and_the_line_are_named(
    name: str, form: str, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    space: dict[str, type[torch.nn.Module]] = {}
    exec(SOURCE, space)  # noqa: S102 - the text above
    torch.save(space[name]().state_dict(), tmp_path / "net.pth")
    flags = ["--weights", str(tmp_path / "net.pth"), "--input", "features:float32[4]", "--formats", form]
    flags += ["--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path / "bundle")]
    assert main(["--factory", f"{tmp_path / 'net.py'}:{name}", *flags]) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith(told)
    assert "Deployable" not in said
    assert str(tmp_path) not in said
    assert not (tmp_path / "bundle").exists()
