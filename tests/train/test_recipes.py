"""Recipes: what they record agrees with what they build."""

from dataclasses import replace

import pytest
from torch import nn

from train.augment import AUGMENTATIONS
from train.data import DATASETS
from train.recipes.recipe import Recipe, RecipeError
from train.recipes.registry import RECIPES, find_recipe
from train.run import RunError, build_network

EACH_RECIPE = pytest.mark.parametrize("recipe", [pytest.param(recipe, id=name) for name, recipe in RECIPES.items()])


@EACH_RECIPE
def test_recipe_records_the_parameters_of_its_network(recipe: Recipe) -> None:
    network = build_network(recipe.factory, recipe.factory_args)
    assert sum(parameter.numel() for parameter in network.parameters()) == recipe.parameters


@EACH_RECIPE
def test_recipe_agrees_with_the_registries(recipe: Recipe) -> None:
    assert RECIPES[recipe.name] is recipe
    assert recipe.data in DATASETS
    assert recipe.augmentation is None or recipe.augmentation in AUGMENTATIONS
    assert len(recipe.labels) == len(set(recipe.labels))
    if recipe.task == "classification":
        assert recipe.factory_args["classes"] == len(recipe.labels)
    columns = recipe.preprocessing.shape[2] if recipe.preprocessing else len(recipe.features)
    assert len(recipe.mean) == len(recipe.std) == columns


def test_tinyvgg_is_the_one_of_the_notes() -> None:
    recipe = RECIPES["fashion-tinyvgg"]
    network = build_network(recipe.factory, recipe.factory_args)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == {
        "block_1.0.weight": (10, 1, 3, 3),
        "block_1.0.bias": (10,),
        "block_1.2.weight": (10, 10, 3, 3),
        "block_1.2.bias": (10,),
        "block_2.0.weight": (10, 10, 3, 3),
        "block_2.0.bias": (10,),
        "block_2.2.weight": (10, 10, 3, 3),
        "block_2.2.bias": (10,),
        "classifier.1.weight": (10, 490),
        "classifier.1.bias": (10,),
    }
    assert recipe.parameters == 7740
    assert (recipe.seed, recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.learning_rate) == (
        42,
        3,
        32,
        "sgd",
        0.1,
    )


def test_blobs_have_the_names_of_the_notes_and_relu_on_request() -> None:
    """Source: notes 003, S7, and its exercise."""
    recipe = RECIPES["blobs"]
    plain = build_network(recipe.factory, recipe.factory_args)
    assert list(plain.state_dict()) == [
        f"linear_layer_stack.{index}.{kind}" for index in (0, 1, 2) for kind in ("weight", "bias")
    ]
    assert not any(isinstance(module, nn.ReLU) for module in plain.modules())
    exercise = replace(recipe, factory_args={**recipe.factory_args, "relu": True})
    bent = build_network(exercise.factory, exercise.factory_args)
    layers = [type(module).__name__ for module in bent.get_submodule("linear_layer_stack").children()]
    assert layers == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert [tensor.shape for tensor in bent.parameters()] == [tensor.shape for tensor in plain.parameters()]


def test_wrong_factory_arguments_are_named() -> None:
    recipe = RECIPES["blobs"]
    with pytest.raises(RunError, match=r"BlobsNet cannot be called with .*'tanh': True.*; check factory_args$"):
        build_network(recipe.factory, {**recipe.factory_args, "tanh": True})


def test_digits_network_has_dropout() -> None:
    recipe = RECIPES["digits"]
    network = build_network(recipe.factory, recipe.factory_args)
    names = [name for name, module in network.named_modules() if type(module).__name__ == "Dropout"]
    assert names == ["classifier.1", "classifier.4"]
    assert list(network.state_dict()) == [
        f"{part}.{kind}"
        for part in ("features.0", "features.2", "features.5", "classifier.2", "classifier.5")
        for kind in ("weight", "bias")
    ]


@pytest.mark.parametrize(
    ("factory", "sides", "message"),
    [
        pytest.param("train.models.tinyvgg:TinyVGG", {"height": 30, "width": 28}, "image size is 30x28", id="tinyvgg"),
        pytest.param(
            "train.models.tinyvgg:TinyVGG", {"height": 28, "width": 0}, "image size is 28x0", id="tinyvgg-empty"
        ),
        pytest.param("train.models.digits_cnn:DigitsCNN", {"height": 8, "width": 7}, "image size is 8x7", id="digits"),
    ],
)
def test_odd_image_size_is_refused(factory: str, sides: dict[str, int], message: str) -> None:
    arguments = next(recipe.factory_args for recipe in RECIPES.values() if recipe.factory == factory)
    with pytest.raises(ValueError, match=message):
        build_network(factory, {**arguments, **sides})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        pytest.param("digit", r"did you mean digits\?", id="near"),
        pytest.param("fashion_tinyvgg", r"did you mean fashion-tinyvgg\?", id="underscore"),
        pytest.param("zzz", "choose one of those$", id="far"),
        pytest.param("nothing", "choose one of those$", id="a-few-letters-in-common"),
    ],
)
def test_unknown_recipe_suggests_the_nearest(name: str, remedy: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"recipe '{name}' does not exist, but one of the \d+ of `python -m train list` .*; {remedy}"
    ):
        find_recipe(name)


@pytest.mark.parametrize(
    ("field", "good", "bad", "message"),
    [
        pytest.param("epochs", 1, 0, "epochs 0, but at least 1 was expected", id="epochs"),
        pytest.param("batch_size", 1, 0, "batch_size 0, but at least 1 was expected", id="batch-size"),
        pytest.param("threads", 1, 0, "threads 0, but at least 1 was expected", id="threads"),
        pytest.param("seed", 0, -1, "seed -1, but at least 0 was expected", id="seed"),
        pytest.param("seed", 2**63 - 1, 2**63, "must be below 2[*][*]63", id="large-seed"),
        pytest.param("learning_rate", 1e-9, 0.0, "learning_rate 0.0, but a finite number above 0", id="learning-rate"),
        pytest.param(
            "learning_rate", 1e9, float("inf"), "learning_rate inf, but a finite", id="infinite-learning-rate"
        ),
        pytest.param("learning_rate", 0.1, float("nan"), "learning_rate nan, but a finite", id="nan-learning-rate"),
    ],
)
def test_recipe_bounds(field: str, good: float, bad: float, message: str) -> None:
    recipe = RECIPES["digits"]
    assert getattr(replace(recipe, **{field: good}), field) == good
    with pytest.raises(RecipeError, match=message):
        replace(recipe, **{field: bad})
