"""The notes' worked examples, computed: nothing here is typed in but the questions."""

import math

import torch
from torch import Tensor, nn

from train.models.blocks import Centred
from train.reproduction.by_batch import share_of_one_answer
from train.reproduction.measure import numbered
from train.scratch.activations import relu, sigmoid, tanh
from train.scratch.softmax import softmax

FOOD_TEST_ROWS = (25, 19, 31)
OFFLINE_S = {1: (61.14, 50.77), 64: (1.27, 0.36)}


def work_out() -> dict[str, float]:
    """Compute every example, by quantity."""
    values: dict[str, float] = {}
    for example in (_descent, _circle_net, _activations, _layers, _shapes, _softmax, _autograd, _food, _more):
        values |= example()
    return values


def _descent() -> dict[str, float]:
    """Take five steps down the squared error of y = 2 x, by hand, from weight 1.5 and bias -0.5."""
    x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])
    weight, bias = 1.5, -0.5
    losses, weights, biases = [], [], []
    for _ in range(5):
        errors = weight * x + bias - y
        losses.append((errors**2).mean().item())
        weight -= 0.01 * (2 * errors * x).mean().item()
        bias -= 0.01 * (2 * errors).mean().item()
        weights.append(weight)
        biases.append(bias)
    return (
        numbered("descent_loss", losses)
        | numbered("descent_weight", weights)
        | numbered("descent_bias", biases)
        | {"descent_third": 1.5 * 3 - 0.5}
    )


def _circle_net() -> dict[str, float]:
    probabilities = sigmoid(torch.tensor([0.45, 0.32, 0.67]))
    losses = -torch.log((probabilities * 100).round() / 100)  # from probabilities as they are printed
    return numbered("circle_probability", probabilities) | numbered(
        "circle_loss", [*losses.tolist(), losses.mean().item()]
    )


def _activations() -> dict[str, float]:
    x = torch.arange(-10, 10, 1.0)
    fine = torch.arange(-8, 8, 0.1, dtype=torch.float64).requires_grad_()
    slopes = {}
    for name, function in (("sigmoid", sigmoid), ("tanh", tanh)):
        (slope,) = torch.autograd.grad(function(fine).sum(), fine)
        slopes[f"{name}_slope"] = slope.max().item()
    return slopes | {
        "relu_difference": (relu(x) - torch.relu(x)).abs().max().item(),
        "sigmoid_difference": (sigmoid(x) - torch.sigmoid(x)).abs().max().item(),
    }


def _layers() -> dict[str, float]:
    torch.manual_seed(42)
    with torch.inference_mode():
        outputs = nn.Linear(2, 6)(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    torch.manual_seed(42)
    square = torch.randn(1, 1, 2, 2)
    return (
        numbered("linear", outputs.flatten())
        | numbered("square", square.flatten())
        | {"pooled": nn.MaxPool2d(2)(square).item()}
    )


def _shapes() -> dict[str, float]:
    """Return the shapes that layers give, without computing anything in them."""
    image = torch.empty(1, 3, 64, 64, device="meta")
    convolved = nn.Conv2d(3, 10, 3, device="meta")(image)
    shapes: dict[str, Tensor] = {
        "flat_shape": nn.Flatten()(torch.empty(1, 28, 28, device="meta")),
        "convolved_shape": convolved,
        "pooled_shape": nn.MaxPool2d(2)(convolved),
        "strided_shape": nn.Conv2d(3, 10, 5, stride=2, device="meta")(image),
        "squeezed_image_shape": nn.Conv2d(3, 10, 3, device="meta")(image[0]),
    }
    return {key: value for name, tensor in shapes.items() for key, value in numbered(name, list(tensor.shape)).items()}


def _softmax() -> dict[str, float]:
    rows = softmax(
        torch.tensor([[1.2374, -1.4810, 0.2318, -0.8470, -0.6407], [-0.1617, 0.6448, 1.3492, 0.0251, 0.7857]])
    )
    return numbered("softmax_1", rows[0]) | numbered("softmax_2", rows[1])


def _autograd() -> dict[str, float]:
    x = torch.arange(4.0, requires_grad=True)
    double_dot = 2 * torch.dot(x, x)
    return (
        {"double_dot": double_dot.item()}
        | numbered("double_dot_slope", torch.autograd.grad(double_dot, x)[0])
        | numbered("square_slope", torch.autograd.grad((x * x).sum(), x)[0])
        | {
            "norm": torch.tensor([3.0, -4.0]).norm().item(),
            "norm_1": torch.tensor([3.0, -4.0]).abs().sum().item(),
            "norm_ones": torch.ones(4, 9).norm().item(),
        }
        | numbered("centred", Centred()(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])))
        | numbered("entropy", [-0.99 * math.log(0.99), -1e-4 * math.log(1e-4)])
    )


def _food() -> dict[str, float]:
    """Return what always naming one kind of food comes to, from the number of test photos of each."""
    targets = torch.repeat_interleave(torch.arange(3), torch.tensor(FOOD_TEST_ROWS))
    values = {}
    for index, name in enumerate(("pizza", "steak", "sushi")):
        values[f"{name}_by_batch"], values[f"{name}_by_rows"] = share_of_one_answer(targets, index)
    return values


def _more() -> dict[str, float]:
    centred = Centred()
    rows = torch.arange(8.0).reshape(4, 2)
    return {
        "tutorial_count": float(math.prod((2, 3, 3, 3))),
        "tutorial_given": float(len(torch.arange(1, 19))),
        "improved_inputs": 20.0 * 16 * 16,
        "improved_printed": 20.0 * 8 * 8,
        "mixed_speedup": OFFLINE_S[1][0] / OFFLINE_S[64][1],
        "like_speedup": OFFLINE_S[64][0] / OFFLINE_S[64][1],
        "centred_shift": (centred(rows)[:2] - centred(rows[:2])).abs().max().item(),
    }
