"""Multilayer perceptrons on images: one hidden layer, or two with dropout after each."""

from torch import nn


def mlp(*, channels: int, height: int, width: int, hidden_units: int, classes: int) -> nn.Sequential:
    """Build a perceptron of one hidden layer: images in, logits out.

    Source: notes 000-002, S-MLP-CONCISE.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, hidden_units),
        nn.ReLU(),
        nn.Linear(hidden_units, classes),
    )


def dropout_mlp(
    *, channels: int, height: int, width: int, hidden_units: int, classes: int, dropout_1: float, dropout_2: float
) -> nn.Sequential:
    """Build a perceptron of two hidden layers: images in, logits out.

    Args:
        channels: Channels of the image.
        height: Rows of the image.
        width: Columns of the image.
        hidden_units: Width of both hidden layers.
        classes: How many classes there are.
        dropout_1: Share of the first hidden layer set to zero in training, in [0, 1).
        dropout_2: The same of the second.

    Source: notes 000-002, S-DROPOUT-MLP.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, hidden_units),
        nn.ReLU(),
        nn.Dropout(dropout_1),
        nn.Linear(hidden_units, hidden_units),
        nn.ReLU(),
        nn.Dropout(dropout_2),
        nn.Linear(hidden_units, classes),
    )
