"""The float64 reference is a true one, whatever forward says of float32; and where it cannot be, that is said."""

import math
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import export
from evaluate.contract import golden_checks
from evaluate.judge import certify
from evaluate.print_certificate import print_certificate
from evaluate.source import golden_of
from evaluate.tables import stdout_console
from export.module_runner import ModuleRunner
from export.reference import to_float64
from export.to_onnx import export_onnx
from serve.bundle import TensorSpec, read_bundle
from serve.onnx_runner import OnnxRunner
from serve.parity import row_parity

WIDTH, ROWS = 16, 64
EPSILON = torch.finfo(torch.float32).eps
TABLE = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(7))

Forward = Callable[[Tensor, Tensor], Tensor]


class Net(nn.Module):
    """A weight, and whatever is done with it."""

    def __init__(self, function: Forward) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=generator) / 4)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x.to(self.weight.dtype), self.weight)


def rows() -> Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(2))


def rms(x: Tensor, w: Tensor, epsilon: float = EPSILON) -> Tensor:
    small = x * 1e-3
    return small * (small.square().mean(dim=1, keepdim=True) + epsilon).rsqrt() @ w


def asking(x: Tensor, w: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        raise TypeError("float32 was expected")
    return x @ w


def filling(x: Tensor, w: Tensor) -> Tensor:
    out = torch.empty(len(x), WIDTH)
    out[:, :] = x @ w
    return out.exp()


def turning(x: Tensor, angles: Tensor, w: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.reshape(-1, WIDTH // 2, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(1) @ w


WIDE = [
    pytest.param(lambda x, w: (x @ w).float().exp(), lambda x, w: (x @ w).exp(), id="float"),
    pytest.param(lambda x, w: (x @ w).to(torch.float32).exp(), lambda x, w: (x @ w).exp(), id="to"),
    pytest.param(lambda x, w: (x @ w).type("torch.FloatTensor").exp(), lambda x, w: (x @ w).exp(), id="type"),
    pytest.param(
        lambda x, w: functional.softmax(x @ w, -1, dtype=torch.float32), lambda x, w: (x @ w).softmax(-1), id="softmax"
    ),
    pytest.param(lambda x, w: functional.rms_norm(x * 1e-3, (WIDTH,)) @ w, rms, id="rms_norm"),
    pytest.param(lambda x, w: rms(x, w, torch.finfo(x.dtype).eps), rms, id="finfo"),
    pytest.param(
        lambda x, w: (x @ w) * torch.linspace(0, 1, WIDTH).cos(),
        lambda x, w: (x @ w) * torch.linspace(0, 1, WIDTH, dtype=torch.float64).cos(),
        id="linspace",
    ),
    pytest.param(
        lambda x, w: (x @ w) * (torch.arange(WIDTH) / 7).cos(),
        lambda x, w: (x @ w) * (torch.arange(WIDTH).double() / 7).cos(),
        id="integers",
    ),
    pytest.param(
        lambda x, w: torch.fft.ifft(torch.fft.fft(x.to(torch.complex64)) * torch.fft.fft(w[0].cfloat())).real,
        lambda x, w: torch.fft.ifft(torch.fft.fft(x) * torch.fft.fft(w[0])).real,
        id="complex",
    ),
    pytest.param(
        lambda x, w: turning(x, torch.arange(WIDTH // 2).float() / 3, w),
        lambda x, w: turning(x, torch.arange(WIDTH // 2).double() / 3, w),
        id="rotation",
    ),
    pytest.param(lambda x, w: x @ TABLE @ w, lambda x, w: x @ TABLE.double() @ w, id="constant"),
    pytest.param(asking, lambda x, w: x @ w, id="assertion"),
    pytest.param(filling, lambda x, w: (x @ w).exp(), id="filled"),
    pytest.param(
        lambda x, w: torch.nan_to_num(torch.zeros(WIDTH).log()) * 1e-38 + x @ w,
        lambda x, w: torch.finfo(torch.float32).min * 1e-38 + x @ w,
        id="nan_to_num",
    ),
]


@pytest.mark.parametrize("whole_bytes", [0, 1 << 40])
@pytest.mark.parametrize(("function", "truth"), WIDE)
def test_the_reference_is_far_better_than_eager(function: Forward, truth: Forward, whole_bytes: int) -> None:
    module = Net(function).eval()
    reference = to_float64(module, whole_bytes=whole_bytes)
    with torch.inference_mode():
        expected = truth(rows().double(), module.weight.double())
        found, eager = reference(rows()), module(rows())
    assert found.dtype == torch.float64
    assert eager.dtype == torch.float32
    own, error = ((values.double() - expected).abs().max() for values in (found, eager))
    assert error > 1e-8
    assert own < error / 100
    assert reference.float32_operators == set()


class Scripted(nn.Module):
    """Casts where only TorchScript sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(Net(rms).weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Run one batch."""
        return (x @ self.weight).to(torch.float32).exp()


def test_the_reference_reaches_into_torchscript() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        module = nn.Sequential(torch.jit.script(Scripted())).eval()
    with torch.inference_mode():
        expected = (rows().double() @ Scripted().weight.double()).exp()
        for _ in range(3):  # TorchScript runs otherwise once it has seen what comes
            assert torch.equal(to_float64(module)(rows().double()), expected)
        assert not torch.equal(module(rows()).double(), expected)


@torch.library.custom_op("facsimile_tests::float32_only", mutates_args=())
def float32_only(x: Tensor) -> Tensor:
    """Sum along each row, of float32 alone."""
    if x.dtype != torch.float32:
        raise RuntimeError(f"expected float32, not {x.dtype}")
    return torch.cumsum(x, dim=1)


@pytest.mark.parametrize(
    "before", [pytest.param(lambda x, _: x, id="of inputs"), pytest.param(torch.matmul, id="of what was computed")]
)
def test_an_operator_without_float64_has_a_weaker_reference_that_is_none_of_eagers_own(before: Forward) -> None:
    """Right when summed in another order; wrong by a part in a hundred thousand."""
    module = Net(lambda x, w: float32_only(before(x, w))).eval()
    reference = to_float64(module)
    with torch.inference_mode():
        wide, eager, again = reference(rows()), module(rows()), reference(rows())
        halves = before(rows(), module.weight).reshape(ROWS, 2, WIDTH // 2).cumsum(dim=2)
        other = torch.cat([halves[:, 0], halves[:, 1] + halves[:, 0, -1:]], dim=1)
    assert torch.equal(wide, again)
    assert reference.float32_operators == {"facsimile_tests.float32_only"}
    assert float((wide - eager.double()).abs().max()) > 0
    arrays = {"eager": eager.numpy(), "reference": wide.numpy()}
    assert row_parity(other.numpy(), **arrays).ratio < 0.7
    assert not row_parity(other.numpy() * np.float32(1 + 1e-5), **arrays).passed


@float32_only.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def test_a_certificate_names_the_operator_without_float64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, WIDTH), Summed(), nn.Tanh(), nn.Linear(WIDTH, 3)).eval()
    with pytest.warns(UserWarning, match="no samples were given"):
        export.bundle(
            network, tmp_path / "summed", inputs="x:float32[6]", labels=("a", "b", "c"), formats=("torchscript",)
        )
    bundle = read_bundle(tmp_path / "summed")
    assert bundle.manifest.row_independent
    certificate = certify(bundle, module=network, quick=True)
    assert certificate.passed
    assert certificate.setting.float32_operators == ("facsimile_tests.float32_only",)
    print_certificate(certificate, stdout_console())
    shown = " ".join(capsys.readouterr().out.split())
    assert "weaker reference: facsimile_tests.float32_only has no float64" in shown


class Summed(nn.Module):
    """Runs the operator that has no float64."""

    def forward(self, x: Tensor) -> Tensor:
        """Run one batch."""
        return float32_only(x)


class Padded(nn.Module):
    """Attends to what is not padding; of a row that is all padding, to nothing, which is NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, WIDTH)
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run one batch."""
        x = self.words(tokens)
        scores = (x @ x.transpose(1, 2)).masked_fill((tokens == 0)[:, None], -torch.inf)
        return self.last((torch.softmax(scores, dim=-1) @ x).mean(dim=1))


@pytest.mark.parametrize("padded", [False, True])
def test_a_row_that_is_all_padding_proves_nothing(padded: bool, tmp_path: Path) -> None:
    """Among the extremes, there is always one; among real samples, it is the network's fault."""
    torch.manual_seed(0)
    network = Padded().eval()
    tokens = np.random.default_rng(0).integers(0, 9, size=(64, 4))
    tokens[:, 0] = 1
    tokens[5] = 0 if padded else 1
    np.savez(tmp_path / "samples.npz", tokens=tokens)
    given = {"inputs": "tokens:int64[4]", "labels": ("a", "b", "c"), "samples": tmp_path / "samples.npz"}
    with pytest.warns(UserWarning, match="tensors are taken as they are"):
        export.bundle(network, tmp_path / "padded", formats=("onnx",), **given)
    bundle = read_bundle(tmp_path / "padded")
    certificate = certify(bundle, module=network, quick=True)
    assert all(check.passed for check in certificate.checks)
    assert [graph.verdict for graph in certificate.graphs] == ["unproven" if padded else "pass"]
    assert any("no finite outputs for 1 of" in sentence for sentence in certificate.setting.skipped)
    golden = golden_of(bundle)
    broken = ~np.isfinite(golden.eager["logits"]).all(axis=1)
    assert set(golden.kind[broken]) <= {"held-out"}
    whole = [np.where(broken[:, None], 0, values) for values in (golden.eager["logits"], golden.reference["logits"])]
    spoiled = replace(golden, eager={"logits": whole[0]}, reference={"logits": whole[1]})
    checks = golden_checks(spoiled, eager=golden.eager, reference=golden.reference)
    assert all(check.passed for check in checks) == (not broken.any())


def test_an_error_of_forward_is_none_of_dtypes() -> None:
    reference = to_float64(Net(lambda x, w: x @ w[:3]).eval())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        reference(rows())


def test_a_norm_of_small_numbers_is_judged_as_sharply_as_any(tmp_path: Path) -> None:
    """PyTorch takes the smallest number of a norm from the dtype: in float64, it would be another function."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.RMSNorm(WIDTH)
            self.last = Net(lambda x, w: x @ w)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(x * 1e-4))

    module = Normed().eval()
    spec, answer = (TensorSpec(name=name, dtype="float32", shape=("batch", WIDTH)) for name in ("x", "y"))
    path = tmp_path / "graph.onnx"
    export_onnx(module, (rows(),), path, inputs=(spec,), outputs=(answer,))
    runner = OnnxRunner(
        path.read_bytes(), name="graph.onnx", inputs=(spec,), outputs=(answer,), provider="CPUExecutionProvider"
    )
    eager, reference = (
        ModuleRunner(part, inputs=("x",), outputs=("y",)) for part in (First(module), First(to_float64(module)))
    )
    given = {"x": rows().numpy()}
    arrays = {"eager": eager.run(given)["y"], "reference": reference.run(given)["y"]}
    assert row_parity(runner.run(given)["y"], **arrays).passed
    module.norm.eps = 1.1 * EPSILON
    assert not row_parity(eager.run(given)["y"], **arrays).passed


class First(nn.Module):
    """Gives a tuple, as every deployable module does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Run one batch."""
        return (self.module(x),)


def third(x: Tensor) -> Tensor:
    """Cast where, once it is scripted, only TorchScript sees it."""
    return x.float() / 3.0


with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    scripted_third = torch.jit.script(third)


def ulp_above(x: Tensor) -> Tensor:
    return torch.nextafter(torch.zeros_like(x), torch.ones_like(x))


def doubled(x: Tensor, w: Tensor) -> Tensor:
    """Branch on a dtype that forward chose itself."""
    y = (x @ w).double()
    if y.dtype != torch.float64 or y.float().dtype != torch.float32 or (y * x).dtype != torch.float64:
        raise TypeError("float64 was expected")
    return ((y - y) + torch.finfo(y.dtype).tiny).log().float() + (x @ w)


def sizes(x: Tensor, w: Tensor) -> Tensor:
    told = x.type() == "torch.FloatTensor" and x.nbytes == 4 * x.numel() and x.double().itemsize == 8
    return (x @ w) * (x.element_size() if told else 0)


@pytest.mark.parametrize("whole_bytes", [0, 1 << 40])
@pytest.mark.parametrize(
    ("function", "truth"),
    [
        pytest.param(lambda x, w: scripted_third(x) @ w, lambda x, w: (x / 3) @ w, id="scripted function"),
        pytest.param(doubled, lambda x, w: math.log(torch.finfo(x.dtype).tiny) + x @ w, id="own float64"),
        pytest.param(sizes, lambda x, w: (x @ w) * 4, id="sizes"),
        pytest.param(
            lambda x, w: functional.rms_norm((x * 1e-6).double(), (WIDTH,)).float() @ w,
            lambda x, w: functional.rms_norm(x * 1e-6, (WIDTH,)) @ w,
            id="rms_norm of float64",
        ),
        pytest.param(
            lambda x, w: (x - x + ulp_above(x)).log() + x @ w,
            lambda x, w: (x - x + 2.0**-149).log() + x @ w,
            id="nextafter",
        ),
    ],
)
def test_what_forward_makes_float64_is_told_from_what_the_reference_does(
    function: Forward, truth: Forward, whole_bytes: int
) -> None:
    module = Net(function).eval()
    reference = to_float64(module, whole_bytes=whole_bytes)
    with torch.inference_mode():
        expected = truth(rows().double(), module.weight.double())
        assert float((reference(rows()) - expected).abs().max()) < 1e-12
    assert reference.float32_operators == set()


class Workspace(nn.Module):
    """Writes into a tensor that is neither parameter nor buffer."""

    def __init__(self, write: Callable[[Tensor, Tensor], object], work: Tensor) -> None:
        super().__init__()
        self.write, self.work = write, [work]

    def forward(self, x: Tensor) -> Tensor:
        """Run one batch."""
        self.write(self.work[0], x)
        return self.work[0] * 1


def assign(work: Tensor, x: Tensor) -> None:
    work[:] = x / 3


WRITES = [
    pytest.param(assign, id="assigned"),
    pytest.param(lambda work, x: work.copy_(x / 3), id="copied"),
    pytest.param(lambda work, x: torch.div(x, 3, out=work), id="out"),
]


@pytest.mark.parametrize("write", WRITES)
def test_what_is_written_into_the_modules_own_tensors_is_not_rounded(write: Callable[[Tensor, Tensor], object]) -> None:
    module = Workspace(write, torch.zeros(ROWS, WIDTH)).eval()
    reference = to_float64(module)
    with torch.inference_mode():
        assert torch.equal(reference(rows()), rows().double() / 3)
    assert reference.float32_operators == set()
    assert not module.work[0].any()


@pytest.mark.parametrize("write", WRITES)
def test_an_operator_that_rounds_what_it_writes_is_named(write: Callable[[Tensor, Tensor], object]) -> None:
    outside = torch.zeros(ROWS, WIDTH)
    reference = to_float64(Workspace(lambda _, x: write(outside, x), torch.zeros(ROWS, WIDTH)).eval())
    with torch.inference_mode():
        reference(rows())
    (name,) = reference.float32_operators
    assert name.endswith(" into a float32 tensor")


def test_what_forward_writes_into_its_inputs_is_not_rounded_and_stays_inside() -> None:
    reference = to_float64(Workspace(lambda work, x: work.copy_(x.div_(3)), torch.zeros(ROWS, WIDTH)).eval())
    given = rows()
    with torch.inference_mode():
        assert torch.equal(reference(given), rows().double() / 3)
    assert torch.equal(given, rows())


def test_bits_are_those_of_float32() -> None:
    reference = to_float64(Net(lambda x, _: (x.view(torch.int32) & 0x7FFFFFFF).view(torch.float32)).eval())
    with torch.inference_mode():
        assert torch.equal(reference(rows()), rows().abs().double())
    assert reference.float32_operators == {"torch.Tensor.view"}


def test_references_in_two_threads_leave_the_default_dtype_alone() -> None:
    """The first leaves an operator while the second is still inside of one, unless it has to wait its turn."""
    entered = [threading.Event(), threading.Event()]
    first_left = threading.Event()

    def wait(own: threading.Event, other: threading.Event) -> Forward:
        def visit(value: float) -> float:
            own.set()
            other.wait(timeout=0.2)
            return value

        return lambda x, w: x @ w + torch.zeros(1).apply_(visit)

    first = to_float64(Net(wait(entered[0], entered[1])).eval())
    second = to_float64(Net(wait(entered[1], first_left)).eval())

    def run(reference: nn.Module) -> None:
        with torch.no_grad():
            reference(rows())
        if reference is first:
            first_left.set()

    threads = [threading.Thread(target=run, args=(reference,)) for reference in (first, second)]
    threads[0].start()
    assert entered[0].wait(timeout=60)
    threads[1].start()
    for thread in threads:
        thread.join()
    left, _ = torch.get_default_dtype(), torch.set_default_dtype(torch.float32)
    assert left == torch.float32
