"""Every hand-written piece against torch's own: values and gradients, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from train.scratch.activations import relu, sigmoid, tanh
from train.scratch.images import average_pool, convolve, max_pool
from train.scratch.losses import (
    cross_entropy,
    cross_entropy_of_probabilities,
    huber_loss,
    l2_penalty,
    smooth_l1_loss,
    squared_loss,
)
from train.scratch.models import dropout, linear_regression, mlp, softmax_regression
from train.scratch.sgd import batches, sgd_step, train_epoch
from train.scratch.softmax import log_softmax, softmax, softmax_naive

Function = Callable[..., Tensor]
INDEX = torch.tensor([0, 2, 1, 1, 0, 2])
EXTREMES = torch.tensor([-1000.0, -40.0, -1.0, 0.0, 1.0, 40.0, 1000.0], dtype=torch.float64)


def normal(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def value_and_gradients(function: Function, *inputs: Tensor) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = function(*leaves)
    direction = normal(*value.shape, seed=9)  # no gradient may hide in a sum
    return [value.detach(), *torch.autograd.grad((value * direction).sum(), leaves)]


def assert_same(ours: Function, theirs: Function, *inputs: Tensor) -> None:
    for actual, expected in zip(value_and_gradients(ours, *inputs), value_and_gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


def layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.linear(x, weight.T, bias)


PIECES = [
    pytest.param(relu, torch.relu, [EXTREMES], id="relu"),
    pytest.param(sigmoid, torch.sigmoid, [EXTREMES], id="sigmoid"),
    pytest.param(tanh, torch.tanh, [EXTREMES], id="tanh"),
    pytest.param(softmax_naive, lambda x: x.softmax(1), [normal(6, 3)], id="softmax-naive"),
    pytest.param(softmax, lambda x: x.softmax(1), [normal(6, 3, scale=300)], id="softmax"),
    pytest.param(log_softmax, lambda x: x.log_softmax(1), [normal(6, 3, scale=300)], id="log-softmax"),
    pytest.param(
        lambda x: cross_entropy(x, INDEX),
        lambda x: functional.cross_entropy(x, INDEX, reduction="none"),
        [normal(6, 3, scale=300)],
        id="cross-entropy",
    ),
    pytest.param(
        lambda x: cross_entropy_of_probabilities(softmax(x), INDEX),
        lambda x: functional.nll_loss(x.log_softmax(1), INDEX, reduction="none"),
        [normal(6, 3)],
        id="cross-entropy-of-probabilities",
    ),
    pytest.param(
        squared_loss,
        lambda x, y: functional.mse_loss(x, y, reduction="none") / 2,
        [normal(6, 1), normal(6, 1, seed=1)],
        id="squared-loss",
    ),
    *(
        pytest.param(
            lambda x, y, d=delta: huber_loss(x, y, delta=d),
            lambda x, y, d=delta: functional.huber_loss(x, y, reduction="none", delta=d),
            [normal(50, 1), normal(50, 1, seed=1)],
            id=f"huber-{delta}",
        )
        for delta in (0.5, 1.0, 3.0)
    ),
    *(
        pytest.param(
            lambda x, y, s=sigma: smooth_l1_loss(x, y, sigma=s),
            lambda x, y, s=sigma: functional.smooth_l1_loss(x, y, reduction="none", beta=s),
            [normal(50, 1), normal(50, 1, seed=1)],
            id=f"smooth-l1-{sigma}",
        )
        for sigma in (0.5, 1.0, 3.0)
    ),
    pytest.param(l2_penalty, lambda w: w.norm() ** 2 / 2, [normal(5, 3)], id="l2-penalty"),
    pytest.param(linear_regression, layer, [normal(6, 2), normal(2, 1), normal(1)], id="linear-regression"),
    pytest.param(
        softmax_regression,
        lambda x, w, b: layer(x.flatten(1), w, b),
        [normal(6, 1, 4, 4), normal(16, 3), normal(3)],
        id="softmax-regression",
    ),
    pytest.param(
        lambda x, v, c, w, b: mlp(x, (v, c), (w, b)),
        lambda x, v, c, w, b: layer(layer(x.flatten(1), v, c).relu(), w, b),
        [normal(6, 4, 4), normal(16, 8), normal(8), normal(8, 3), normal(3)],
        id="mlp",
    ),
    *(
        pytest.param(
            lambda x, k, b, s=stride, p=padding: convolve(x, k, b, stride=s, padding=p),
            lambda x, k, b, s=stride, p=padding: functional.conv2d(x, k, b, stride=s, padding=p),
            [normal(2, 3, 7, 8), normal(4, 3, 3, 2), normal(4)],
            id=f"convolve-stride-{stride}-padding-{padding}",
        )
        for stride, padding in ((1, 0), (2, 0), (1, 1), (3, 2))
    ),
    *(
        pytest.param(
            lambda x, o=ours, k=size, s=stride: o(x, size=k, stride=s),
            lambda x, t=theirs, k=size, s=stride: t(x, k, s),
            [normal(2, 3, 7, 8)],
            id=f"{ours.__name__}-{size}-{stride}",
        )
        for ours, theirs in ((max_pool, functional.max_pool2d), (average_pool, functional.avg_pool2d))
        for size, stride in ((2, None), (3, 2), (7, 1))
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "inputs"), PIECES)
def test_piece_and_its_gradients_are_torchs(ours: Function, theirs: Function, inputs: list[Tensor]) -> None:
    assert_same(ours, theirs, *inputs)


def test_a_wrong_piece_is_caught() -> None:
    with pytest.raises(AssertionError, match="not close"):
        assert_same(lambda x: torch.maximum(x, torch.zeros_like(x)), torch.relu, EXTREMES)  # its gradient at 0 is 1/2
    flipped = normal(1, 1, 3, 3)
    with pytest.raises(AssertionError, match="not close"):
        assert_same(
            lambda x: convolve(x, flipped.flip(2, 3), torch.zeros(1, dtype=x.dtype)),
            lambda x: functional.conv2d(x, flipped),
            normal(1, 1, 5, 5),
        )


def test_naive_softmax_overflows_and_the_stable_one_does_not() -> None:
    logits = torch.tensor([[100.0, 0.0], [-110.0, -110.0]])
    assert softmax_naive(logits).isnan().tolist() == [[True, False], [True, True]]
    torch.testing.assert_close(softmax(logits), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))


def test_softmax_prints_what_the_notes_print() -> None:
    logits = torch.tensor([[1.2374, -1.4810, 0.2318, -0.8470, -0.6407], [-0.1617, 0.6448, 1.3492, 0.0251, 0.7857]])
    expected = torch.tensor([[0.5851, 0.0386, 0.2140, 0.0728, 0.0895], [0.0865, 0.1939, 0.3921, 0.1043, 0.2232]])
    torch.testing.assert_close(softmax(logits), expected, rtol=0, atol=1e-4)


def test_a_logarithm_of_rounded_probabilities_is_infinite_and_the_fused_one_is_not() -> None:
    logits, index = torch.tensor([[200.0, 0.0]], requires_grad=True), torch.tensor([1])
    naive = cross_entropy_of_probabilities(softmax(logits), index)
    assert naive.item() == torch.inf
    assert torch.autograd.grad(naive.sum(), logits)[0].isnan().all()
    fused = cross_entropy(logits, index)
    assert fused.item() == 200
    assert torch.autograd.grad(fused.sum(), logits)[0].tolist() == [[1, -1]]


def test_dropout_keeps_the_mean_in_training_and_everything_otherwise() -> None:
    x = torch.ones(200_000, dtype=torch.float64)
    dropped = dropout(x, probability=0.3, training=True, generator=torch.Generator().manual_seed(0))
    assert set(dropped.tolist()) == {0.0, 1 / 0.7}
    assert (dropped == 0).double().mean().item() == pytest.approx(0.3, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert dropout(x, probability=0.3, training=False) is x
    assert dropout(x, probability=0, training=True) is x
    assert not dropout(x, probability=1, training=True).any()


def test_dropout_lets_the_gradient_through_where_it_kept_the_value() -> None:
    x = normal(1000).requires_grad_()
    dropped = dropout(x, probability=0.5, training=True, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(dropped.sum(), x)
    torch.testing.assert_close(gradient, torch.where(dropped == 0, 0.0, 2.0).double())


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_dropout_refuses_what_is_no_probability(probability: float) -> None:
    with pytest.raises(ValueError, match=rf"^probability is {probability}, but a number from 0 to 1 was expected$"):
        dropout(torch.ones(1), probability=probability, training=True)


def test_training_by_hand_walks_the_way_of_torchs_optimizer() -> None:
    inputs, truth = normal(103, 2), torch.tensor([[2.0], [-3.4]], dtype=torch.float64)
    targets = inputs @ truth + 4.2  # 103 rows: the last batch of 10 is short
    weight, bias = normal(2, 1, seed=3).requires_grad_(), torch.zeros(1, dtype=torch.float64, requires_grad=True)
    theirs = nn.Linear(2, 1, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(weight.T)
        theirs.bias.zero_()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.03)
    order = torch.Generator().manual_seed(5)
    loss = train_epoch(
        lambda x, y: squared_loss(linear_regression(x, weight, bias), y),
        [weight, bias],
        inputs,
        targets,
        learning_rate=0.03,
        batch_size=10,
        generator=torch.Generator().manual_seed(5),
    )
    total = 0.0
    for index in batches(103, 10, order):
        optimizer.zero_grad()
        mean = functional.mse_loss(theirs(inputs[index]), targets[index]) / 2
        mean.backward()
        optimizer.step()
        total += mean.item() * len(index)
    torch.testing.assert_close(weight.T, theirs.weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(bias, theirs.bias, rtol=1e-12, atol=0)
    assert loss == pytest.approx(total / 103, rel=1e-6)


def test_a_step_with_weight_decay_is_torchs_and_is_the_penaltys_gradient() -> None:
    for_step, for_torch, for_penalty = (normal(4, 2).requires_grad_() for _ in range(3))
    inputs, targets = normal(7, 4, seed=1), normal(7, 2, seed=2)
    squared_loss(inputs @ for_step, targets).sum().backward()
    sgd_step([for_step], learning_rate=0.1, rows=7, weight_decay=3)
    (squared_loss(inputs @ for_torch, targets).sum() / 7).backward()
    torch.optim.SGD([for_torch], lr=0.1, weight_decay=3).step()
    (squared_loss(inputs @ for_penalty, targets).sum() + 7 * 3 * l2_penalty(for_penalty)).backward()
    sgd_step([for_penalty], learning_rate=0.1, rows=7)
    torch.testing.assert_close(for_step, for_torch, rtol=1e-12, atol=0)
    torch.testing.assert_close(for_penalty, for_torch, rtol=1e-12, atol=0)
    assert not for_step.grad.any()  # cleared, or the next step would add to it


def test_a_batch_order_names_every_row_once() -> None:
    parts = list(batches(25, 10, torch.Generator().manual_seed(0)))
    assert [len(part) for part in parts] == [10, 10, 5]
    assert sorted(torch.cat(parts).tolist()) == list(range(25))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: squared_loss(torch.ones(3, 1), torch.ones(3)),
            r"^predictions are \[3, 1\], but targets are \[3\], and both would be broadcast; reshape one$",
            id="broadcast",
        ),
        pytest.param(
            lambda: max_pool(torch.ones(1, 1, 2, 5), size=3),
            r"^the window is 3x3, but the image is only 2x5; use a smaller window or padding$",
            id="window",
        ),
        pytest.param(
            lambda: convolve(torch.ones(1, 2, 5, 5), torch.ones(1, 3, 2, 2), torch.zeros(1)),
            r"^images have 2 channels, but the kernel takes 3$",
            id="channels",
        ),
        pytest.param(
            lambda: sgd_step([torch.ones(1)], learning_rate=1, rows=1),
            r"^parameter 0 has no gradient; call backward\(\) on a loss that depends on it first$",
            id="no-gradient",
        ),
    ],
)
def test_says_what_is_wrong(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
