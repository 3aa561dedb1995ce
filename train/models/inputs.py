"""Which first layer a recipe's network gets."""

from torch import nn

from serve.bundle import Feature
from train.models.feature_input import FeatureInput
from train.models.image_input import ImageInput


def build_input(features: tuple[Feature, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """Return the input module of a table where there are features, else that of images."""
    return FeatureInput(features, mean, std) if features else ImageInput(mean, std)
