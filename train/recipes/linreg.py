"""Linear regression on made-up rows, as the source notes train it, and with weight decay on too few of them."""

from dataclasses import replace

from serve.bundle import Feature
from train.recipes.recipe import Recipe

LINREG_SCRATCH = Recipe(
    name="linreg-scratch",
    title="Linear regression on two features, written out by hand",
    task="regression",
    data="linear",
    labels=("y",),
    factory="train.models.linear:LinearScratch",
    factory_args={"features": 2},
    parameters=3,
    features=(Feature(name="x1"), Feature(name="x2")),
    mean=(0.0, 0.0),
    std=(1.0, 1.0),
    loss="half-mse",
    learning_rate=0.03,
    batch_size=10,
    epochs=3,
    threads=1,
    notes="S-LINREG-SCRATCH; no figure is printed",
)

LINREG = replace(
    LINREG_SCRATCH,
    name="linreg",
    title="Linear regression on two features, by a linear layer",
    factory="train.models.linear:linear_stack",
    factory_args={"features": 2, "hidden_layers": 0, "hidden_units": 0, "outputs": 1},
    loss="mse",
    initialisation="normal-0.01-zero-bias",
    notes_loss=0.000103,
    notes="S-LINREG-CONCISE",
)

WEIGHT_DECAY_0 = replace(
    LINREG,
    name="weight-decay-0",
    title="200 features, 20 rows, no weight decay: learnt by heart",
    data="linear-wide",
    factory_args={"features": 200, "hidden_layers": 0, "hidden_units": 0, "outputs": 1},
    parameters=201,
    features=tuple(Feature(name=f"x{number}") for number in range(1, 201)),
    mean=(0.0,) * 200,
    std=(1.0,) * 200,
    initialisation="normal-1",
    learning_rate=0.003,
    batch_size=5,
    epochs=100,
    notes_loss=None,
    notes="S-WEIGHT-DECAY; the printed norm of the weights is 13.7279",
)

WEIGHT_DECAY_3 = replace(
    WEIGHT_DECAY_0,
    name="weight-decay-3",
    title="200 features, 20 rows, weight decay 3",
    weight_decay=3.0,
    notes="S-WEIGHT-DECAY; the printed norm of the weights is 0.3891",
)
