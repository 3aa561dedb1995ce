"""The networks that can be trained on images of any size and number of classes."""

import difflib
from dataclasses import dataclass, field
from typing import Literal

from train.recipes.recipe import RecipeError
from train.recipes.registry import RECIPES

Color = Literal["L", "RGB"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModel:
    """One network.

    Attributes:
        factory: ``package.module:callable``.
        parameters: How many trainable numbers it has for 64x64 images in its first colour mode and 3 classes.
        args: Arguments of the factory besides those of the images and classes.
        multiple: Both sides of the image must be a multiple of it: each pooling halves them.
        colors: The colour modes that it takes; the first is what it gets unless told otherwise.
    """

    factory: str
    parameters: int
    args: dict[str, int | float | str | bool] = field(default_factory=dict)
    multiple: int = 1
    colors: tuple[Color, ...] = ("RGB", "L")


IMAGE_MODELS: dict[str, ImageModel] = {
    "tinyvgg": ImageModel(
        factory="train.models.tinyvgg:TinyVGG", parameters=10_693, args={"hidden_units": 10}, multiple=4
    ),
    "improved-tinyvgg": ImageModel(
        factory="train.models.improved_tinyvgg:ImprovedTinyVGG",
        parameters=1_313_847,
        args={"hidden_units": 10, "dropout": 0.5},
        multiple=4,
    ),
    "digits-cnn": ImageModel(
        factory="train.models.digits_cnn:DigitsCNN",
        parameters=4_250_307,
        args={"hidden_units": 32, "dropout": 0.3},
        multiple=2,
        colors=("L",),
    ),
    "softmax": ImageModel(factory="train.models.softmax:softmax_regression", parameters=36_867),
    "mlp": ImageModel(factory="train.models.mlp:mlp", parameters=3_146_755, args={"hidden_units": 256}),
    "dropout-mlp": ImageModel(
        factory="train.models.mlp:dropout_mlp",
        parameters=3_212_547,
        args={"hidden_units": 256, "dropout_1": 0.2, "dropout_2": 0.5},
    ),
    "fashion-v0": ImageModel(
        factory="train.models.fashion_v0:FashionV0", parameters=122_923, args={"hidden_units": 10}
    ),
    "fashion-v1": ImageModel(
        factory="train.models.fashion_v1:FashionV1", parameters=122_923, args={"hidden_units": 10}
    ),
}
_OF_TABLES = frozenset({"linear", "line", "polynomial", "circles", "blobs", "house-prices"})


def find_image_model(name: str) -> ImageModel:
    """Return the network of that name.

    Raises:
        RecipeError: there is none, or it takes tables; the nearest name is suggested.
    """
    model = IMAGE_MODELS.get(name)
    if model is not None:
        return model
    known = ", ".join(IMAGE_MODELS)
    if name in _OF_TABLES or (name in RECIPES and RECIPES[name].features):
        raise RecipeError(f"model {name} takes a table, but images are to be trained on; give one of {known}")
    nearest = difflib.get_close_matches(name, IMAGE_MODELS, n=1, cutoff=0.6)
    remedy = f"; did you mean {nearest[0]}?" if nearest else ""
    raise RecipeError(f"model {name!r} does not exist, but one of {known} was expected{remedy}")


def model_name(factory: str) -> str | None:
    """Return what the network of a factory is called, or None."""
    return next((name for name, model in IMAGE_MODELS.items() if model.factory == factory), None)
