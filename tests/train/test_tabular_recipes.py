"""The tabular recipes: the numbers that the notes print, and the whole path to a certificate."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluate.__main__ import main as evaluate
from export.__main__ import main as export
from export.deployable import Deployable, input_specs, output_specs
from export.module_runner import run_batches
from export.to_onnx import export_onnx
from serve.bundle import Feature
from serve.onnx_runner import OnnxRunner
from train.__main__ import main as train
from train.data import load_dataset
from train.device import choose_device
from train.fit import Fitted, fit
from train.loop import Totals
from train.models.inputs import build_input
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES
from train.reproduction.expected import FIGURES
from train.reproduction.judge import Digits, Figure, judge
from train.reproduction.measure import Trained, history_values, measure
from train.run import EpochMetrics, RunError, build_network

TABULAR = [name for name, recipe in RECIPES.items() if recipe.features]
QUICK_PATHS = {"circles-v2", "house-prices", "polynomial-20"}

PRINTED = ["line-parameters", "line-linear", "line-deep", "circles-v1", "circles-v2", "blobs"]


class Quiet:
    """A watcher that takes note of nothing."""

    def batch_done(self, epoch: int, totals: Totals, rows: int) -> None:
        pass

    def epoch_done(self, metrics: EpochMetrics) -> None:
        pass


def train_recipe(recipe: Recipe) -> Fitted:
    fitted = fit(recipe, data_root=Path("unused"), choice=choose_device("cpu"), watcher=Quiet())
    assert fitted is not None
    return fitted


@cache
def trained(name: str) -> Fitted:
    return train_recipe(RECIPES[name])


def as_trained(name: str) -> Trained:
    fitted, recipe = trained(name), RECIPES[name]
    network = build_network(recipe.factory, recipe.factory_args)
    network.load_state_dict(fitted.weights)
    return Trained(
        recipe=recipe,
        run=fitted.run,
        history=fitted.history,
        dataset=load_dataset(recipe, Path("unused")),
        network=network.eval(),
        input_module=build_input(recipe.features, recipe.mean, recipe.std),
    )


def epoch_figures(name: str) -> list[Figure]:
    figures = [figure for figure in FIGURES[name] if figure.name.startswith("epoch ")]
    assert figures
    return figures


@pytest.mark.parametrize("name", PRINTED)
def test_every_printed_digit_is_ours(name: str) -> None:
    values = history_values(trained(name).history)
    for figure in epoch_figures(name):
        judgement = judge(figure, values)
        assert judgement.verdict == ("exact" if isinstance(figure.rule, Digits) else "band"), judgement


@pytest.mark.parametrize("name", ["line-parameters", "blobs"])
def test_another_seed_prints_other_digits(name: str) -> None:
    values = history_values(train_recipe(replace(RECIPES[name], seed=43)).history)
    assert {judge(figure, values).verdict for figure in epoch_figures(name)} == {"missed"}


@pytest.mark.parametrize("name", [*PRINTED, "circles-v0", "house-prices"])
def test_all_that_the_notes_print_is_ours(name: str) -> None:
    values = measure(as_trained(name))
    figures = [figure for figure in FIGURES[name] if not figure.name.startswith("fourth round")]
    judgements = [judge(figure, values) for figure in figures]
    assert [judgement for judgement in judgements if judgement.verdict == "missed"] == []
    assert "exact" in {judgement.verdict for judgement in judgements}


def test_final_weights_of_line_linear() -> None:
    weights = trained("line-linear").weights
    assert {key: round(tensor.item(), 5) for key, tensor in weights.items()} == {
        "linear_layer.weight": 0.69681,
        "linear_layer.bias": 0.30251,
    }


def test_line_linear_is_far_better_than_its_last_printed_row() -> None:
    history = trained("line-linear").history
    assert history[-1].test_loss == pytest.approx(0.00033, abs=5e-6)
    assert history[900].test_loss > 40 * history[-1].test_loss


def test_circles_v2_ends_as_the_notes_would() -> None:
    last = trained("circles-v2").history[-1]
    assert [f"{value:.4f}" for value in (last.train_loss, last.test_loss, last.test_top1_accuracy or 0)] == [
        "0.5689",
        "0.5744",
        "0.8650",
    ]


def plain_loop(recipe: Recipe, loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor) -> nn.Module:
    """Train as the notes' loop does: all rows at once, loss, zero_grad, backward, step."""
    inputs = torch.from_numpy(load_dataset(recipe, Path("unused")).train.inputs)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.factory, recipe.factory_args)
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate)
    for _ in range(recipe.epochs):
        error = loss(network(inputs), targets)
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


@pytest.mark.parametrize("name", ["line-parameters", "line-linear", "line-deep", "circles-v0", "circles-v2", "blobs"])
def test_training_is_float_exact_with_the_plain_loop(name: str) -> None:
    recipe = RECIPES[name]
    targets = torch.from_numpy(load_dataset(recipe, Path("unused")).train.targets)
    loss: Callable[[Tensor, Tensor], Tensor] = {
        "regression": nn.L1Loss(),
        "binary-classification": lambda logits, wanted: nn.BCEWithLogitsLoss()(logits.squeeze(1), wanted.float()),
        "classification": nn.CrossEntropyLoss(),
    }[recipe.task]
    actual = trained(name).weights
    expected = plain_loop(recipe, loss, targets).state_dict()
    assert list(actual) == list(expected)
    assert all(torch.equal(actual[key], expected[key]) for key in expected)
    other = plain_loop(replace(recipe, seed=recipe.seed + 1), loss, targets).state_dict()
    assert not all(torch.equal(actual[key], other[key]) for key in expected)


@pytest.mark.parametrize(
    ("name", "floor"),
    [pytest.param("linreg-scratch", 0.01**2 / 2, id="scratch"), pytest.param("linreg", 0.01**2, id="concise")],
)
def test_linear_regression_finds_the_true_weights(name: str, floor: float) -> None:
    fitted = trained(name)
    weights, bias = fitted.weights.values()
    assert weights.flatten().tolist() == pytest.approx([2, -3.4], abs=2e-3)
    assert bias.item() == pytest.approx(4.2, abs=2e-3)
    assert 0.9 * floor <= fitted.history[-1].test_loss <= 1.1 * floor
    assert fitted.history[0].test_loss > 2 * floor


@pytest.mark.parametrize(
    ("name", "widest"),
    [pytest.param("weight-decay-0", 2.5, id="without"), pytest.param("weight-decay-3", 0.15, id="with")],
)
def test_weight_norm_of_the_notes_lies_within_our_spread(name: str, widest: float) -> None:
    (printed,) = map(float, FIGURES[name][0].printed)
    norms = [train_recipe(replace(RECIPES[name], seed=seed)).weights["0.weight"].norm().item() for seed in (0, 3, 4, 8)]
    assert min(norms) <= printed <= max(norms) or min(abs(norm - printed) for norm in norms) <= 0.02 * printed
    assert max(norms) - min(norms) <= widest


def test_weight_decay_turns_learning_by_heart_into_learning() -> None:
    without, decayed = trained("weight-decay-0").history[-1], trained("weight-decay-3").history[-1]
    assert without.train_loss < 1e-9 < 100 < without.test_loss
    assert 1e-3 < decayed.train_loss < decayed.test_loss < 2


def test_weight_decay_spares_the_bias() -> None:
    bare = trained("weight-decay-3").weights["0.bias"].item()
    assert abs(bare) > 0.1  # decayed like the weights it would be near 0


def test_house_prices_are_those_of_least_squares() -> None:
    weights = trained("house-prices").weights
    assert weights["0.weight"][0, 0].item() == pytest.approx(36_050, rel=1e-4)
    paved, without = (weights["0.weight"][0, index] + weights["0.bias"][0] for index in (1, 2))
    assert (paved.item(), without.item()) == pytest.approx((127_500, 424_100 / 3), rel=1e-4)


def test_degree_1_underfits_and_20_overfits_what_3_learns() -> None:
    line, cubic, many = (trained(name).history[-1] for name in ("polynomial-1", "polynomial", "polynomial-20"))
    assert line.train_loss > 100 * cubic.train_loss
    assert line.test_loss > 100 * cubic.test_loss
    assert many.train_loss < cubic.train_loss
    assert many.test_loss > 100 * cubic.test_loss
    assert cubic.test_loss < 0.1


@pytest.mark.parametrize("degree", [0, 1, 3, 20])
def test_polynomial_sums_its_powers(degree: int) -> None:
    network = build_network("train.models.polynomial:Polynomial", {"degree": degree})
    weights = torch.arange(1.0, degree + 2).double()
    inputs = torch.linspace(-4, 4, 9).unsqueeze(1).double()
    network = network.double()
    network.load_state_dict({"linear_layer.weight": weights.unsqueeze(0)})
    factorials = torch.lgamma(torch.arange(1.0, degree + 2).double()).exp()
    expected = (inputs ** torch.arange(degree + 1) / factorials * weights).sum(dim=1, keepdim=True)
    torch.testing.assert_close(network(inputs), expected)


@pytest.mark.parametrize("name", ["Polynomial", "LegendrePolynomial"])
def test_polynomial_of_degree_20_stays_finite_far_out(name: str) -> None:
    network = build_network(f"train.models.polynomial:{name}", {"degree": 20})
    assert network(torch.tensor([[300.0], [-300.0]])).isfinite().all()


@pytest.mark.parametrize("degree", [1, 2, 20])
def test_legendre_polynomial_is_numpys_within_its_range_and_flat_beyond(degree: int) -> None:
    network = build_network("train.models.polynomial:LegendrePolynomial", {"degree": degree}).double()
    weights = torch.arange(1.0, degree + 2).double()
    network.load_state_dict({"linear_layer.weight": weights.unsqueeze(0)})
    inputs = np.linspace(-1, 1, 9)
    coefficients = weights.numpy() * np.sqrt(2 * np.arange(degree + 1) + 1)
    actual = network(torch.from_numpy(inputs).unsqueeze(1)).detach().numpy()[:, 0]
    np.testing.assert_allclose(actual, np.polynomial.legendre.legval(inputs, coefficients))
    assert network(torch.tensor([[5.0], [-5.0]]).double()).flatten().tolist() == pytest.approx([actual[-1], actual[0]])


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        pytest.param(
            "train.models.polynomial:Polynomial", {"degree": -1}, "degree is -1, but at least 0 was expected", id="deg"
        ),
        pytest.param(
            "train.models.polynomial:LegendrePolynomial",
            {"degree": 0},
            "degree is 0, but at least 1 was expected",
            id="legendre",
        ),
        pytest.param(
            "train.models.linear:linear_stack",
            {"features": 1, "hidden_layers": -1, "hidden_units": 1, "outputs": 1},
            "hidden_layers is -1, but at least 0 was expected",
            id="layers",
        ),
    ],
)
def test_impossible_networks_are_refused(factory: str, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(RunError, match=message):
        build_network(factory, dict(arguments))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK_PATHS else pytest.mark.slow) for name in TABULAR]
)
def test_recipe_goes_all_the_way_to_a_certificate(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(["run", name]) == 0
    assert export([f"runs/{name}"]) == 0
    assert evaluate(["parity", f"bundles/{name}"]) == 0, capsys.readouterr().out
    assert (tmp_path / "bundles" / name / "certificate.json").is_file()


def test_all_fifteen_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(["list"]) == 0
    listed = capsys.readouterr().out
    assert len(TABULAR) == 15
    assert all(any(line.startswith(f"{name} ") for line in listed.splitlines()) for name in TABULAR)


class OwnSigmoid(nn.Module):
    """What the deployable module would be with a Sigmoid in its graph."""

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return logits + 0, torch.sigmoid(logits)


@pytest.mark.parametrize(
    ("right", "own"), [pytest.param(True, None, id="ours"), pytest.param(False, OwnSigmoid(), id="onnxruntime")]
)
def test_small_probabilities_of_the_graph_are_right(right: bool, own: nn.Module | None, tmp_path: Path) -> None:
    features = (Feature(name="logit"),)
    specs, outputs = input_specs(None, features), output_specs("binary-classification", ("no", "yes"))
    module = Deployable(build_input(features, (0.0,), (1.0,)), nn.Identity(), "binary-classification").eval()
    path = tmp_path / "graph.onnx"
    export_onnx(own or module, (torch.zeros(2, 1),), path, inputs=specs, outputs=outputs)
    runner = OnnxRunner(
        path.read_bytes(), name="graph.onnx", inputs=specs, outputs=outputs, provider="CPUExecutionProvider"
    )
    logits = np.linspace(-80, 80, 64, dtype=np.float32)[:, np.newaxis]
    actual = run_batches(runner, {"features": logits}, batch_size=64)["probabilities"]
    expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert np.allclose(actual, expected, rtol=2e-6, atol=0) == right
