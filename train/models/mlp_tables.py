"""Small multilayer networks for tables: the ones for circles and blobs."""

from torch import Tensor, nn


class CirclesNet(nn.Module):
    """Three linear layers for two classes; with ReLU between them they can draw a circle, without they cannot.

    Args:
        features: Columns of the table.
        hidden_units: Width of the first two layers.
        relu: Whether a ReLU follows each of them.

    Shape:
        ``(batch, features)`` in, one logit per row ``(batch, 1)`` out.

    Source: notes 003, S4 and S6.
    """

    def __init__(self, *, features: int, hidden_units: int, relu: bool) -> None:
        super().__init__()
        self.layer_1 = nn.Linear(features, hidden_units)
        self.layer_2 = nn.Linear(hidden_units, hidden_units)
        self.layer_3 = nn.Linear(hidden_units, 1)
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        hidden = self.activation(self.layer_2(self.activation(self.layer_1(inputs))))
        logits: Tensor = self.layer_3(hidden)
        return logits


class BlobsNet(nn.Module):
    """Three linear layers, as a rule without activations: straight boundaries are all that separate clouds need.

    Args:
        features: Columns of the table.
        hidden_units: Width of the first two layers.
        classes: How many classes there are.
        relu: Whether a ReLU follows each of the first two: the notes' exercise.

    Shape:
        ``(batch, features)`` in, logits ``(batch, classes)`` out.

    Source: notes 003, S7.
    """

    def __init__(self, *, features: int, hidden_units: int, classes: int, relu: bool = False) -> None:
        super().__init__()
        self.linear_layer_stack = nn.Sequential(
            nn.Linear(features, hidden_units),
            *_activation(relu),
            nn.Linear(hidden_units, hidden_units),
            *_activation(relu),
            nn.Linear(hidden_units, classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logits of one batch."""
        logits: Tensor = self.linear_layer_stack(inputs)
        return logits


def _activation(relu: bool) -> list[nn.Module]:
    """Return nothing, rather than an identity, where there is none: the names in the state dict count the layers."""
    return [nn.ReLU()] if relu else []
