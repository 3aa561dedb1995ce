"""What is refused before any graph is written, what is only said, and that the right twin of each passes."""

import random
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from export.deployable import output_specs, wrap
from export.draft import Draft
from export.errors import ExportError
from export.observe import observe
from export.preflight import preflight
from serve.bundle import Provenance, TensorSpec
from tests.train.broken_blocks import DataLinear, ListSequential, aliased_regular_net
from train.models.blocks import BLOCKS, OwnLinear

ROWS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def draft_of(build: Callable[[], nn.Module], *, anew: bool = True, features: int = 4) -> Draft:
    """Return a draft of a regression on tensors; `anew` says whether the network can be built again."""
    torch.manual_seed(1)
    network = build()
    module = wrap(network, task="regression", features=(), mean=(), std=())
    rows = ROWS if features == 4 else np.random.default_rng(0).normal(size=(8, features)).astype(np.float32)
    return Draft(
        name="net",
        title="A network",
        task="regression",
        labels=("y",),
        module=module,
        weights=network.state_dict(),
        inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", features)),),
        outputs=output_specs("regression", ("y",)),
        preprocessing=None,
        features=(),
        provenance=Provenance(
            recipe=None,
            factory="",
            factory_args={},
            mean=(),
            std=(),
            seed=None,
            dataset="",
            dataset_sha256="",
            device="cpu",
            versions={},
            source_revision=None,
        ),
        golden_inputs={"x": rows},
        golden_class_index=np.full(8, -1),
        golden_kind=np.array(["random"] * 8),
        build=build if anew else None,
    )


class Net(nn.Module):
    """A small network; what is made of its hidden rows is given."""

    def __init__(self, then: Callable[[nn.Module, Tensor], Tensor] = lambda _, x: x, **parts: object) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.last = nn.Linear(8, 1)
        self.then = then
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.then(self, self.first(x)))


def changed(change: Callable[[nn.Module], object]) -> nn.Module:
    network = Net()
    change(network)
    return network


def set_value(name: str, value: float) -> Callable[[nn.Module], object]:
    def change(network: nn.Module) -> None:
        with torch.no_grad():
            network.get_parameter(name)[0] = value

    return change


class SwitchesBack(Net):
    def forward(self, x: Tensor) -> Tensor:
        self.train()
        return super().forward(x)


class NeverEvaluates(Net):
    def train(self, _: bool = True) -> nn.Module:
        return super().train()


class InPlace(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2))


class WithBuffer(Net):
    def __init__(self, then: Callable[[nn.Module, Tensor], Tensor], value: Tensor, *, persistent: bool = True) -> None:
        super().__init__(then)
        self.register_buffer("kept", value, persistent=persistent)


class Rebuilt:
    """A factory that counts how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> nn.Module:
        self.calls += 1
        return nn.Sequential(nn.Linear(4, 4 + self.calls), nn.Linear(4 + self.calls, 1))


class HiddenRebuilt(Rebuilt):
    def __call__(self) -> nn.Module:
        self.calls += 1
        calls = self.calls
        return Net(lambda _, x: x * calls)


DICE = random.Random(0)
SCALE = nn.Parameter(torch.ones(8))


def transformer_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(4, nhead=2, dim_feedforward=8, dropout=0.5, batch_first=True)


def drawing_on_its_own(_: nn.Module, x: Tensor) -> Tensor:
    return x + torch.rand(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)


STATELESS = nn.BatchNorm1d(8, track_running_stats=False)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1))


def counting(network: nn.Module, x: Tensor) -> Tensor:
    network.kept += 1
    return x * network.kept


def remembering(network: nn.Module, x: Tensor) -> Tensor:
    network.calls = getattr(network, "calls", 0) + 1
    return x * network.calls


def drawing(_: nn.Module, x: Tensor) -> Tensor:
    return x * random.random()


def seeded(_: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return x + torch.rand_like(x)


def half_batch(_: nn.Module, x: Tensor) -> Tensor:
    return x.view(x.shape[0] // 2, 2, 8).view(-1, 8)


REFUSED = [
    pytest.param(lazy, "0.weight, 0.bias of Sequential are lazy and still without a shape", id="lazy"),
    pytest.param(
        lambda: Net().double(),
        "and 1 more of Net are float64, but float32 was expected; call network.float()",
        id="f64",
    ),
    pytest.param(lambda: Net().half(), "of Net are float16, but float32", id="half precision"),
    pytest.param(lambda: Net().bfloat16(), "of Net are bfloat16, but float32", id="bfloat16"),
    pytest.param(
        lambda: WithBuffer(lambda n, x: x * n.kept.real, torch.ones(8, dtype=torch.complex64)),
        "kept of WithBuffer is complex64, but float32 was expected; write it with two real tensors",
        id="complex",
    ),
    pytest.param(lambda: Net().to("meta"), "of Net are on meta, but the CPU was expected", id="another device"),
    pytest.param(
        lambda: changed(set_value("last.bias", float("nan"))),
        "last.bias of Net holds NaN or infinity, but finite weights were expected; its training diverged",
        id="NaN",
    ),
    pytest.param(
        lambda: changed(set_value("first.bias", float("inf"))), "first.bias of Net holds NaN or infinity", id="infinity"
    ),
    pytest.param(
        lambda: WithBuffer(lambda _, x: x, torch.full((8,), float("nan"))),
        "kept of WithBuffer holds NaN",
        id="NaN buffer",
    ),
    pytest.param(
        lambda: ListSequential(nn.Linear(4, 8), nn.Linear(8, 1)),
        "layers of ListSequential holds a Linear in a plain list, dictionary or attribute, where neither saving nor",
        id="modules in a list",
    ),
    pytest.param(
        lambda: Net(lambda n, x: n.layers["a"][0](x), layers={"a": [nn.Linear(8, 8)]}),
        "layers of Net holds a Linear in a plain list",
        id="modules in a dictionary of lists",
    ),
    pytest.param(
        lambda: Net(lambda n, x: x * n.scales[0], scales=[nn.Parameter(torch.ones(8))]),
        "scales of Net is a weight outside the parameters, so it is neither saved nor learnt",
        id="weights in a list",
    ),
    pytest.param(NeverEvaluates, "NeverEvaluates, first, last: in training mode, where dropout", id="training mode"),
    pytest.param(
        SwitchesBack, "SwitchesBack, first, last: switched back to training mode in forward", id="switches back"
    ),
    pytest.param(InPlace, "changes its own input in forward", id="changes its input"),
    pytest.param(
        lambda: Net(lambda _, x: F.dropout(x)),
        "Net calls bernoulli_ in forward, so its answers are",
        id="F.dropout",
    ),
    pytest.param(lambda: Net(seeded), "calls rand_like in forward", id="random with a seed of its own"),
    pytest.param(lambda: Net(drawing_on_its_own), "Net calls rand in forward", id="a generator of its own"),
    pytest.param(lambda: Net(drawing), "Net draws from random in forward, or seeds it", id="chance"),
    pytest.param(
        lambda: Net(lambda _, x: x * DICE.random()),
        "Net gives other outputs for the same inputs when it is run again",
        id="chance of its own",
    ),
    pytest.param(
        lambda: Net(remembering), "forward changes Net.calls, so an answer depends on the ones before", id="remembers"
    ),
    pytest.param(
        lambda: WithBuffer(counting, torch.zeros(1)),
        "forward changes kept, so an answer depends on the ones before",
        id="counts in a buffer",
    ),
    pytest.param(
        lambda: Net(lambda n, x: x * n.scale, scale=torch.rand(8)),
        "Net built anew, with the same weights loaded, gives other outputs: scale is not among them",
        id="constant outside buffers",
    ),
    pytest.param(
        lambda: WithBuffer(lambda n, x: x * n.kept, torch.rand(8), persistent=False),
        "gives other outputs: kept is not among them",
        id="buffer that is not saved",
    ),
    pytest.param(
        lambda: nn.Sequential(DataLinear(4, 8), nn.Linear(8, 1)),
        "0: .data is read in forward, which cuts weights off from what they learn",
        id="weights through .data",
    ),
    pytest.param(lambda: Net(lambda _, x: x.data * 2), "Net: .data is read in forward", id="data"),
    pytest.param(
        Rebuilt(), "Sequential built anew is another network: 0.weight, 0.bias, 1.weight is not", id="unstable"
    ),
    pytest.param(
        HiddenRebuilt(),
        "gives other outputs: some constant, or its factory builds something else each time",
        id="counts",
    ),
    pytest.param(lambda: Net(half_batch), "Net fails in float64, or at batch size 1", id="needs even batches"),
    pytest.param(
        lambda: Net(lambda n, x: n.norm(x), norm=nn.BatchNorm1d(8, track_running_stats=False)),
        "Net fails in float64, or at batch size 1, where its graphs are judged (Expected more than 1 value per channel",
        id="batch normalisation of one row",
    ),
    pytest.param(lambda: Net(lambda _, x: x[:, :7]), "Net fails on its own golden inputs", id="does not run"),
]


@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_is_refused_with_one_sentence(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ExportError, match=re.escape(message)) as caught:
        preflight(draft_of(build))
    assert "\n" not in str(caught.value)


class Wave(torch.autograd.Function):
    """A right custom function: what it gives is what a graph holds."""

    @staticmethod
    def forward(_: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def backward(_: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        return gradient


class Shared(Net):
    """Registers a layer, and keeps it in a list as well."""

    def __init__(self) -> None:
        super().__init__()
        self.order = [self.first, self.last, torch.nn.functional.relu, nn.ReLU()]

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.order[0], self.order[3], self.order[1]):
            x = layer(x)
        return x


PASSING = [
    pytest.param(Net, id="plain"),
    pytest.param(lambda: Net(lambda n, x: n.drop(x), drop=nn.Dropout(0.5)), id="nn.Dropout"),
    pytest.param(lambda: Net(lambda n, x: F.dropout(x, training=n.training)), id="F.dropout with training"),
    pytest.param(lambda: Net(lambda n, x: n.norm(x), norm=nn.BatchNorm1d(8)), id="batch normalisation"),
    pytest.param(
        lambda: Net(lambda n, x: n.layer(x.view(-1, 2, 4)).flatten(1), layer=transformer_layer()), id="attention"
    ),
    pytest.param(
        lambda: Net(lambda n, x: n.steps(x.unsqueeze(1))[0].squeeze(1), steps=nn.LSTM(8, 8, batch_first=True)),
        id="recurrent",
    ),
    pytest.param(lambda: WithBuffer(lambda n, x: x * n.kept, torch.rand(8)), id="constant in a buffer"),
    pytest.param(
        lambda: WithBuffer(lambda n, x: x * n.kept, torch.arange(8.0), persistent=False), id="buffer made anew"
    ),
    pytest.param(
        lambda: WithBuffer(
            lambda n, x: x @ (n.kept + torch.zeros(8, 8)).softmax(1), torch.full((8, 8), -torch.inf).triu(1)
        ),
        id="mask of infinities",
    ),
    pytest.param(lambda: Net(lambda n, x: n.layers[0](x), layers=nn.ModuleList([nn.Linear(8, 8)])), id="ModuleList"),
    pytest.param(Shared, id="registered and in a list"),
    pytest.param(lambda: nn.Sequential(OwnLinear(4, 8), OwnLinear(8, 1, rectify=False)), id="own linear"),
    pytest.param(lambda: Net(lambda _, x: Wave.apply(x)), id="custom function"),
    pytest.param(lambda: Net(lambda _, x: x / 3 - x.mean(dim=1, keepdim=True)), id="centred row by row"),
    pytest.param(lambda: Net().requires_grad_(False), id="frozen"),
    pytest.param(lambda: Net(unused=nn.Linear(3, 3)), id="a layer that is not used"),
    pytest.param(lambda: Net(lambda _, x: x.round()), id="no gradient but zero"),
    pytest.param(aliased_regular_net, id="one block four times"),
]


@pytest.mark.parametrize("build", PASSING)
@pytest.mark.parametrize("anew", [True, False], ids=["built anew", "at hand"])
def test_the_right_twin_passes_without_a_word(build: Callable[[], nn.Module], anew: bool) -> None:
    findings = preflight(draft_of(build, anew=anew))
    assert findings.notes == ()
    assert findings.row_independent


def attention(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Net(
        lambda n, x: n.down(n.attend(*[n.up(x).view(-1, 50, 64)] * 3, need_weights=False)[0].flatten(1)),
        up=nn.Linear(8, 3200),
        attend=nn.MultiheadAttention(64, 4, batch_first=True),
        down=nn.Linear(3200, 8),
    ).eval()


def test_attention_passes_although_torch_rounds_it_otherwise_when_it_is_watched() -> None:
    rows = torch.randn(2, 4)
    with torch.no_grad():
        unlike = [
            seed
            for seed in range(8)
            if not torch.equal(attention(seed)(rows), observe(attention(seed), (rows,)).outputs)
        ]
    assert unlike
    for seed in unlike:
        assert preflight(draft_of(lambda seed=seed: attention(seed))).notes == ()


@pytest.mark.parametrize("name", list(BLOCKS))
def test_the_notes_blocks_pass(name: str) -> None:
    block = BLOCKS[name]
    findings = preflight(draft_of(block.build, features=block.features))
    assert findings.row_independent == (name != "centred")
    assert bool(findings.notes) == (name == "centred")


def attended(_: nn.Module, x: Tensor) -> Tensor:
    return (x @ x.T).softmax(dim=1) @ x


@pytest.mark.parametrize(
    ("build", "part"),
    [
        pytest.param(lambda: Net(lambda _, x: x - x.mean()), "Net", id="mean of the batch"),
        pytest.param(lambda: Net(attended), "Net", id="attention over the batch"),
        pytest.param(lambda: Net(lambda _, x: x / x.abs().max()), "Net", id="scaled by the batch's largest"),
        pytest.param(lambda: Net(lambda _, x: x.cumsum(0)), "Net", id="sum of the rows before"),
        pytest.param(lambda: Net(lambda _, x: x.flip(0).cumsum(0).flip(0)), "Net", id="sum of the rows behind"),
        pytest.param(
            lambda: Net(lambda n, x: n.steps(x.unsqueeze(1))[0].squeeze(1), steps=nn.LSTM(8, 8)),
            "steps",
            id="recurrent without batch_first",
        ),
        pytest.param(
            lambda: Net(lambda n, x: n.norm(x.unsqueeze(2).expand(-1, -1, 2)).sum(2), norm=STATELESS),
            "norm",
            id="batch normalisation without running statistics",
        ),
    ],
)
def test_layers_that_mix_rows_are_marked(build: Callable[[], nn.Module], part: str) -> None:
    with torch.random.fork_rng():
        findings = preflight(draft_of(build))
    assert not findings.row_independent
    assert re.search(rf"{part}\S* mixes the rows of a batch: .*served one row at a time", findings.notes[0])


def rare(reads: Callable[[Tensor], object]) -> nn.Module:
    return Net(lambda _, x: x * 2 if reads(x) else x)


@pytest.mark.parametrize(
    "reads",
    [
        pytest.param(lambda x: x.abs().max() > 1e6, id="comparison"),
        pytest.param(lambda x: (x > 1e6).nonzero().shape[0], id="nonzero"),
        pytest.param(lambda x: x[x > 1e6].numel(), id="mask"),
        pytest.param(lambda x: np.from_dlpack(x.detach()).max() > 1e6, id="another library"),
        pytest.param(lambda x: not torch.jit.is_tracing() and x.max().item() > 1e6, id="hidden from the tracer"),
    ],
)
def test_what_reads_its_inputs_values_is_said(reads: Callable[[Tensor], object]) -> None:
    (note,) = preflight(draft_of(lambda: rare(reads))).notes
    assert "Net reads values out of its inputs, to branch or to count on them" in note


def test_reading_a_constant_is_no_branch() -> None:
    def constant() -> nn.Module:
        return WithBuffer(lambda n, x: x * n.kept[0].item() + int(x.shape[1]), torch.arange(1.0, 3.0))

    assert preflight(draft_of(constant)).notes == ()


class Counts(Net):
    """Answers otherwise from the hundredth run on."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(x) * (2 if self.runs > 100 else 1)


def test_a_counter_is_refused() -> None:
    with pytest.raises(ExportError, match=r"forward changes Counts\.runs, so an answer depends on the ones before"):
        preflight(draft_of(Counts))


def test_weights_that_cannot_have_learnt_are_named() -> None:
    findings = preflight(draft_of(lambda: Net(lambda n, x: x + n.first.bias.detach() + n.other.detach(), other=SCALE)))
    assert findings.notes == (
        "no gradient reaches other, although the outputs depend on it: forward reads it through detach() or no_grad(), "
        "so it is exported as it is, but it cannot have learnt",
    )


@pytest.mark.parametrize("anew", [True, False])
def test_a_constant_outside_buffers_is_said_where_it_is_none_the_worse(anew: bool) -> None:
    findings = preflight(draft_of(lambda: Net(lambda n, x: x * n.scale, scale=torch.arange(8.0)), anew=anew))
    assert findings.row_independent
    (note,) = findings.notes
    assert note.startswith(
        "scale stands outside parameters and buffers, so state_dict.pt lacks it; use register_buffer"
    )


def test_looking_changes_nothing() -> None:
    draft = draft_of(lambda: Net(lambda n, x: n.norm(x), norm=nn.BatchNorm1d(8)).requires_grad_(False))
    before = {name: tensor.clone() for name, tensor in draft.module.state_dict().items()}
    rows, state = draft.golden_inputs["x"].copy(), torch.get_rng_state()
    preflight(draft)
    assert all(torch.equal(tensor, before[name]) for name, tensor in draft.module.state_dict().items())
    assert not any(parameter.requires_grad for parameter in draft.module.parameters())
    assert np.array_equal(draft.golden_inputs["x"], rows)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in draft.module.modules())
