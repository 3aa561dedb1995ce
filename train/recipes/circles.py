"""Two circles, one in the other, as the source notes tell them apart: with straight lines, then with ReLU."""

from dataclasses import replace

from serve.bundle import Feature
from train.recipes.recipe import Recipe

CIRCLES_V0 = Recipe(
    name="circles-v0",
    title="Two circles, by two linear layers: no better than chance",
    task="binary-classification",
    data="circles",
    labels=("outer circle", "inner circle"),
    factory="train.models.linear:linear_stack",
    factory_args={"features": 2, "hidden_layers": 1, "hidden_units": 5, "outputs": 1},
    parameters=21,
    features=(Feature(name="X1"), Feature(name="X2")),
    mean=(0.0, 0.0),
    std=(1.0, 1.0),
    loss="binary-cross-entropy",
    learning_rate=0.1,
    batch_size=None,
    epochs=100,
    threads=1,
    notes_accuracy=0.545,
    notes_loss=0.69242,
    notes="003 S3; the figures are of epoch 11, the last one printed, from a network that was not seeded",
)

CIRCLES_V1 = replace(
    CIRCLES_V0,
    name="circles-v1",
    title="Two circles, by three linear layers: still no better than chance",
    factory="train.models.mlp_tables:CirclesNet",
    factory_args={"features": 2, "hidden_units": 10, "relu": False},
    parameters=151,
    epochs=1000,
    notes_accuracy=0.46,
    notes_loss=0.69468,
    notes="003 S4; the figures are of epoch 901, the last one printed",
)

CIRCLES_V2 = replace(
    CIRCLES_V1,
    name="circles-v2",
    title="Two circles, by three layers with ReLU",
    factory_args={"features": 2, "hidden_units": 10, "relu": True},
    notes_accuracy=0.79,
    notes_loss=0.62145,
    notes="003 S6; the figures are of epoch 901, the last one printed",
)
