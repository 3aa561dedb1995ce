"""Points on a straight line, as the source notes fit them: with bare parameters, a linear layer, three layers."""

from dataclasses import replace

from serve.bundle import Feature
from train.recipes.recipe import Recipe

LINE_PARAMETERS = Recipe(
    name="line-parameters",
    title="A line through 50 points, by two bare parameters",
    task="regression",
    data="line-50",
    labels=("y",),
    factory="train.models.line:LineParameters",
    factory_args={},
    parameters=2,
    features=(Feature(name="x"),),
    mean=(0.0,),
    std=(1.0,),
    loss="l1",
    learning_rate=0.01,
    batch_size=None,
    epochs=100,
    threads=1,
    notes_loss=0.064736,
    notes="003 S1; the figure is of epoch 91, the last one printed",
)

LINE_LINEAR = replace(
    LINE_PARAMETERS,
    name="line-linear",
    title="A line through 50 points, by a linear layer",
    factory="train.models.line:LineLinear",
    epochs=1000,
    notes_loss=0.013801801018416882,
    notes="003 S2; the figure is of epoch 901, the last one printed: every other step lands 40 times nearer",
)

LINE_DEEP = replace(
    LINE_PARAMETERS,
    name="line-deep",
    title="A line through 100 points, by three linear layers",
    data="line-100",
    factory="train.models.linear:linear_stack",
    factory_args={"features": 1, "hidden_layers": 2, "hidden_units": 10, "outputs": 1},
    parameters=141,
    learning_rate=0.1,
    epochs=1000,
    notes_loss=0.00603,
    notes="003 S5; the figure is of epoch 901, the last one printed",
)
