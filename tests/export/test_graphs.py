"""What the exporters refuse, and what they write."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.formats import DEFAULT_FORMATS, FORMATS
from export.graph_job import GraphJob
from export.to_onnx import check_contract, export_onnx
from export.to_torchscript import export_torchscript, load_torchscript
from serve.bundle import TensorSpec
from serve.onnx_runner import OnnxRunner

INPUTS = (TensorSpec(name="image", dtype="uint8", shape=("batch", 4, 4, 1)),)
OUTPUTS = (
    TensorSpec(name="logits", dtype="float32", shape=("batch", 3)),
    TensorSpec(name="probabilities", dtype="float32", shape=("batch", 3)),
)
EXAMPLE = torch.arange(32, dtype=torch.uint8).reshape(2, 4, 4, 1)


class Plain(nn.Module):
    """A small classifier; subclasses spoil it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(16, 3)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.linear(image.to(self.linear.weight.dtype).flatten(1) / 255)
        return logits, torch.softmax(logits, dim=1)


class Branch(Plain):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, probabilities = super().forward(image)
        return (logits, probabilities) if logits.sum() > 0 else (-logits, probabilities)


class FrozenReshape(Plain):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, probabilities = super().forward(image)
        return logits.reshape(2, 3), probabilities


class IntOfShape(Plain):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, probabilities = super().forward(image)
        return logits.reshape(int(image.shape[0]), 3), probabilities


class SharedOut(Plain):
    """Divides by the batch size: the shapes are right for any, the values are not."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, probabilities = super().forward(image)
        return logits / int(image.shape[0]), probabilities


class Square(Plain):
    """Checks its input and computes with sizes, as torchvision's transformers do, and is right for any batch."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        height = image.shape[1]
        torch._assert(height == 4, f"height is {height}, but 4 was expected")
        patches = int(height // 2) ** 2
        logits, probabilities = super().forward(image)
        return logits * patches, probabilities


class OneOutput(Plain):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, probabilities = super().forward(image)
        return logits[:, :2], probabilities


def job_of(module: nn.Module, folder: Path) -> GraphJob:
    return GraphJob(
        name="plain",
        labels=("a", "b", "c"),
        module=module,
        examples=(EXAMPLE,),
        inputs=INPUTS,
        outputs=OUTPUTS,
        calibration={},
        folder=folder,
    )


@pytest.mark.parametrize("name", DEFAULT_FORMATS)
def test_a_plain_module_is_written_and_gives_the_same(name: str, tmp_path: Path) -> None:
    module = Plain().eval()
    path = tmp_path / FORMATS[name](job_of(module, tmp_path))[0].path
    batch = torch.randint(0, 256, (5, 4, 4, 1), dtype=torch.uint8)
    with torch.inference_mode():
        expected = [tensor.numpy() for tensor in module(batch)]
        if name == "onnx":
            runner = OnnxRunner(
                path.read_bytes(), name="graph.onnx", inputs=INPUTS, outputs=OUTPUTS, provider="CPUExecutionProvider"
            )
            actual = list(runner.run({"image": batch.numpy()}).values())
        else:
            actual = [tensor.numpy() for tensor in load_torchscript(path.read_bytes())(batch)]
    for have, want in zip(actual, expected, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-6, atol=1e-7)


def test_onnx_is_one_file_with_a_named_dynamic_batch_and_no_path_of_this_machine(tmp_path: Path) -> None:
    export_onnx(Plain().eval(), (EXAMPLE,), tmp_path / "graph.onnx", inputs=INPUTS, outputs=OUTPUTS)
    assert [path.name for path in tmp_path.iterdir()] == ["graph.onnx"]
    content = (tmp_path / "graph.onnx").read_bytes()
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    for folder in {Path(torch.__file__).parent.parent, Path(__file__).parent, Path.cwd()}:
        assert str(folder).encode() not in content


def test_onnx_of_the_same_module_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_onnx(Plain().eval(), (EXAMPLE,), tmp_path / name, inputs=INPUTS, outputs=OUTPUTS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_branch_on_data_is_refused_by_torchscript(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match="Branch decides by its data, and a trace would hold that decision as a constant"
    ):
        export_torchscript(Branch().eval(), (EXAMPLE,), tmp_path / "graph.pt", outputs=OUTPUTS)


def test_a_branch_on_data_is_refused_by_onnx(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError,
        match=r"^Branch, at \S*test_graphs\.py:\d+ \(.*\), decides by its data, but an ONNX graph holds one way only; ",
    ):
        export_onnx(Branch().eval(), (EXAMPLE,), tmp_path / "graph.onnx", inputs=INPUTS, outputs=OUTPUTS)


def test_a_frozen_batch_is_refused_by_torchscript(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"was traced at batch 2 and fails at batch 1 .* look for int\(x.shape\[0\]\)"
    ):
        export_torchscript(FrozenReshape().eval(), (EXAMPLE,), tmp_path / "graph.pt", outputs=OUTPUTS)


def test_a_frozen_batch_is_refused_by_onnx(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"frozen batch size|cannot be exported to ONNX"):
        export_onnx(FrozenReshape().eval(), (EXAMPLE,), tmp_path / "graph.onnx", inputs=INPUTS, outputs=OUTPUTS)


def test_int_of_the_batch_size_is_refused_by_torchscript(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"was traced at batch 2 and fails at batch 1 .* look for int\(x.shape\[0\]\)"
    ):
        export_torchscript(IntOfShape().eval(), (EXAMPLE,), tmp_path / "graph.pt", outputs=OUTPUTS)


def test_values_that_change_with_the_batch_size_are_refused_by_torchscript(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"traced at batch 2 and gives other values than forward at batch 1"):
        export_torchscript(SharedOut().eval(), (EXAMPLE,), tmp_path / "graph.pt", outputs=OUTPUTS)


def test_what_is_computed_from_fixed_sizes_is_no_decision(tmp_path: Path) -> None:
    path = tmp_path / "graph.pt"
    export_torchscript(Square().eval(), (EXAMPLE,), path, outputs=OUTPUTS)
    image = torch.randint(0, 256, (5, 4, 4, 1), dtype=torch.uint8)
    for found, expected in zip(load_torchscript(path.read_bytes())(image), Square().eval()(image), strict=True):
        torch.testing.assert_close(found, expected)


def test_int_of_the_batch_size_stays_dynamic_in_onnx_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    try:
        export_onnx(IntOfShape().eval(), (EXAMPLE,), path, inputs=INPUTS, outputs=OUTPUTS)
    except ExportError as error:
        assert "frozen batch size" in str(error)  # noqa: PT017 - either is right, the message only where it is refused
        return
    runner = OnnxRunner(path.read_bytes(), name="g", inputs=INPUTS, outputs=OUTPUTS, provider="CPUExecutionProvider")
    assert runner.run({"image": np.zeros((5, 4, 4, 1), np.uint8)})["logits"].shape == (5, 3)


@pytest.mark.parametrize("name", DEFAULT_FORMATS)
def test_other_shapes_than_promised_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="check what forward returns"):
        FORMATS[name](job_of(OneOutput().eval(), tmp_path))


def test_a_static_graph_is_told_from_a_dynamic_one(tmp_path: Path) -> None:
    export_onnx(Plain().eval(), (EXAMPLE,), tmp_path / "graph.onnx", inputs=INPUTS, outputs=OUTPUTS)
    model = onnx.load_from_string((tmp_path / "graph.onnx").read_bytes())
    check_contract(model, inputs=INPUTS, outputs=OUTPUTS)
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    dim.ClearField("dim_param")
    dim.dim_value = 2
    with pytest.raises(ExportError, match="input image of the ONNX graph has a frozen batch size"):
        check_contract(model, inputs=INPUTS, outputs=OUTPUTS)
